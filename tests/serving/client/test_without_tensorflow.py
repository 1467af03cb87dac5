"""A program that ranks must not load TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.serving.client.answering import Answering, answering

PROGRAM = """
import asyncio, json, sys
from serving.client import AsyncRankingClient, Hedging, RankingClient, UserRequest

target = sys.argv[1]
user = UserRequest.from_history("7", ["11"], [4.0])
with RankingClient(target, "m", 120) as client:
    scores = [client.rank(user, ["x", "y"]).tolist()]
with RankingClient(target, "m", 120, hedging=Hedging(120.0)) as client:
    scores.append(client.rank(user, ["x", "y"]).tolist())

async def rank():
    async with AsyncRankingClient(target, "m", 120) as client:
        return (await client.rank(user, ["x", "y"])).tolist()

scores.append(asyncio.run(rank()))
other = ("keras", "tf_keras", "pandas", "requests")
heavy = [name for name in sys.modules if name.split(".")[0] in other]
python = [name for name in sys.modules if name.startswith("tensorflow.python")]
loaded = ["tensorflow"] if "tensorflow" in sys.modules else []
print(json.dumps({"scores": scores, "loaded": loaded + python + heavy}))
"""


def test_the_package_has_what_it_lists_and_nothing_else() -> None:
    import serving.client

    assert all(hasattr(serving.client, name) for name in serving.client.__all__)
    assert serving.client.RestRankingClient.__name__ == "RestRankingClient"
    assert not hasattr(serving.client, "RestClient")


def test_ranking_loads_no_tensorflow(repository_root: Path) -> None:
    with answering(Answering({"score": np.float32([0.5, 0.25])})) as port:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, f"127.0.0.1:{port}"],
            cwd=repository_root,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"scores": [[0.5, 0.25]] * 3, "loaded": []}
