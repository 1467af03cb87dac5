"""What is installed is pinned, what is installed is listed, and nothing read can run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_code import syntax_tree

ROOT = Path(__file__).parents[1]
ROOMS = ("configs", "preprocessing", "models", "trainer", "serving", "reki", "examples")
PINNED = sorted(path.name for path in ROOT.glob("requirements*.txt"))
HASHED = ("requirements.txt", "requirements-audit.txt", "requirements-dev.txt")
RUN_WHAT_THEY_READ = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
ASKED_TO = ("allow_pickle", "trust_remote_code")


def pins(name: str) -> list[str]:
    """The requirements of a file, each with its hashes."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line.split(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", PINNED)
def test_every_requirement_has_one_version(name: str) -> None:
    found = pins(name)
    assert found
    assert [
        pin for pin in found if not re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.+!]+(\s|$)", pin)
    ] == []


@pytest.mark.parametrize("name", HASHED)
def test_what_make_setup_and_make_audit_install_has_checksums(name: str) -> None:
    without = [pin for pin in pins(name) if not re.search(r"\s--hash=sha256:[0-9a-f]{64}\b", pin)]
    assert without == []


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("S301", "import pickle\n\npickle.loads(b'')\n"),
        ("S302", "import marshal\n\nmarshal.loads(b'')\n"),
        ("S307", "eval('1')\n"),
        ("S102", "exec('1')\n"),
        ("S506", "import yaml\n\nyaml.load('a', Loader=yaml.Loader)\n"),
    ],
)
def test_lint_refuses_what_runs_its_input(code: str, line: str) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "-"]
    command += ["--stdin-filename", "configs/read.py"]
    done = subprocess.run(
        command, input=line, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and f" {code} " in done.stdout, done


def test_no_room_imports_or_asks_for_a_reader_that_runs_what_it_reads() -> None:
    found = []
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 200
    for path in files:
        text = path.read_text(encoding="utf-8")
        if not any(word in text for word in (*RUN_WHAT_THEY_READ, *ASKED_TO)):
            continue
        for node in ast.walk(syntax_tree(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            if RUN_WHAT_THEY_READ & {name.partition(".")[0] for name in names}:
                found.append(f"{path}:{node.lineno}: {names}")
            if isinstance(node, ast.keyword) and node.arg in ASKED_TO:
                if not isinstance(node.value, ast.Constant) or node.value.value is not False:
                    found.append(f"{path}:{node.lineno}: {node.arg}")
    assert found == []


@pytest.mark.slow
def test_every_pinned_package_is_in_the_list_of_packages() -> None:
    if not (ROOT / ".venv-audit/.installed").exists():
        pytest.skip("make sbom has not been run: .venv-audit is missing")
    name = "requirements-tracing.txt"
    subprocess.run(["make", "sbom", f"FILES={name}"], cwd=ROOT, check=True, capture_output=True)
    path = ROOT / "out/sbom/requirements-tracing.cdx.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["name"] == "reki"
    packages = {f"{one['name']}=={one['version']}" for one in listed["components"]}
    assert packages == {pin.split()[0] for pin in pins(name)} and len(packages) > 5
