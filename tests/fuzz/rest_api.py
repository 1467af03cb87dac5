"""The REST API, asked by schemathesis for what its description allows and for what it does not."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from serving.options import ServerOptions
from serving.server import LocalServer
from serving.server.server_files import ModelSettings
from tests.serving.guide_models import guide_base_paths

ROOT = Path(__file__).parents[2]
DESCRIPTION = ROOT / "docs/reference/rest_api.yaml"
_SETTINGS = Path(__file__).with_name("schemathesis.toml")
_MOST_FAILURES = 20
_CASE_SECONDS = 10


@dataclass(frozen=True)
class Tried:
    """What came of the requests.

    Attributes:
      cases: how many were sent.
      is_sound: whether every answer was one that the description has.
      report: what schemathesis says.
    """

    cases: int
    is_sound: bool
    report: str


@contextlib.contextmanager
def served_models() -> Iterator[str]:
    """The models of TensorFlow Serving's REST guide, one with a label; gives the server's URL."""
    models = [
        ModelSettings(name, base, labels={"stable": 5} if name == "guide" else {})
        for name, base in guide_base_paths().items()
    ]
    with LocalServer(models, options=ServerOptions(poll_seconds=0)) as server:
        yield f"http://127.0.0.1:{server.rest_port}"


def try_rest_api(cases: int, seed: int, out: Path) -> Tried:
    """Sends requests to a server that is started for it.

    Args:
      cases: about how many, divided among the operations.
      seed: of the requests.
      out: folder for the report.
    """
    paths = yaml.safe_load(DESCRIPTION.read_text(encoding="utf-8"))["paths"].values()
    operations = sum(len(item.keys() & {"get", "post"}) for item in paths)
    out.mkdir(parents=True, exist_ok=True)
    report = out / "report.json"
    report.unlink(missing_ok=True)
    options = {
        "phases": "examples,coverage,fuzzing",
        "max-examples": -(-cases // operations),
        "seed": seed,
        "max-failures": _MOST_FAILURES,
        "request-timeout": _CASE_SECONDS,
        "report": "json",
        "report-json-path": report,
        "generation-database": "none",
        "warnings": "off",
    }
    with served_models() as url:
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", str(_SETTINGS), "run"]
            + [str(DESCRIPTION), "--url", url, "--continue-on-failure"]
            + [f"--{name}={value}" for name, value in options.items()],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    sent = 0
    if report.is_file():
        told = json.loads(report.read_text(encoding="utf-8"))
        sent = told["test_cases"]["generated"]
    return Tried(sent, done.returncode == 0, done.stdout)
