"""The examples of docs/clients.md, run against the local server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.server import LocalServer
from tests.serving.toy_ranker import toy_base_path, toy_score

USER = {
    "user_id": "42",
    "history_item_id": ["296", "527"],
    "history_rating": [5.0, 3.5],
    "user_share_liked": 0.5,
    "user_mean_rating": 4.25,
    "user_log_count": 1.0986,
}
EXPECTED = [toy_score(item_id=item, **USER) for item in ("50", "318", "858")]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer({"movies": toy_base_path()}) as server:
        yield server


@pytest.fixture(scope="module")
def blocks(repository_root: Path) -> list[str]:
    """The page's indented blocks."""
    page = (repository_root / "docs" / "clients.md").read_text()
    found = re.findall(r"(?:^(?: {4}.*)?\n)+", page, re.MULTILINE)
    lines = [[line[4:] for line in block.splitlines()] for block in found]
    return ["\n".join(block).strip() for block in lines if any(block)]


def run_program(program: str, server: LocalServer, repository_root: Path) -> list[str]:
    program = program.replace("127.0.0.1:8500", f"127.0.0.1:{server.grpc_port}")
    program = program.replace("127.0.0.1:8501", f"127.0.0.1:{server.rest_port}")
    # The test's server has no labels; it has version 3.
    program = program.replace('version_label="stable"', "model_version=3")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_programs_print_scores(
    blocks: list[str], server: LocalServer, repository_root: Path
) -> None:
    programs = [block for block in blocks if re.match(r"(from|import) ", block)]
    assert len(programs) == 4
    rank, label, many, rest = (run_program(p, server, repository_root) for p in programs)
    assert json.loads(rank[0]) == pytest.approx(EXPECTED, abs=1e-5)
    assert json.loads(rest[0]) == pytest.approx(EXPECTED, abs=1e-5)
    version, scores = label[0].split(" ", 1)
    assert version == "3" and json.loads(scores) == pytest.approx(EXPECTED, abs=1e-5)
    assert [line.split(" ")[0] for line in many] == ["3", "3"]
    assert [len(json.loads(line.split(" ", 1)[1])) for line in many] == [2, 1]


def test_the_body_for_curl_is_ranked(blocks: list[str], server: LocalServer) -> None:
    (command,) = (block for block in blocks if block.startswith("curl -d"))
    match = re.match(r"curl -d '(?P<body>.*)' \\\n\s*(?P<url>\S+)", command, re.DOTALL)
    assert match is not None
    url = match["url"].replace("8501", str(server.rest_port))
    request = urllib.request.Request(url, match["body"].encode())
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    assert answer["outputs"] == pytest.approx(EXPECTED, rel=1e-5)


def test_options_are_those_that_there_are(blocks: list[str]) -> None:
    from serving.client import Connection, Hedging, RankingClient, Tls

    names = {"Connection": Connection, "Hedging": Hedging, "Tls": Tls}
    lines = [block for block in blocks if block.startswith("RankingClient(")]
    assert len(lines) == 2
    for line in lines:
        for name, options in re.findall(r"(Connection|Hedging|Tls)\(([^()]*)", line):
            given = re.findall(r"(\w+)=", options)
            assert set(given) <= set(names[name].__dataclass_fields__), line
    assert "connection" in RankingClient.__init__.__annotations__
