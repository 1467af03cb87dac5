"""Every command of the tutorials runs, in their order, as a reader types it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
PAGES = ("your_own_data", "existing_model", "nightly_refresh")
BLOCK = re.compile(
    r"^```(?P<kind>\w+)\n(?P<text>.*?)^```|(?P<lines>(?:^    [^\n]*\n)+)", re.M | re.S
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has what the repository has, and no `out` yet."""
    for name in ("configs", "examples", "models", "preprocessing", "reki", "serving", "trainer"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    monkeypatch.setenv("PATH", f"{ROOT / '.venv/bin'}:{os.environ['PATH']}")
    return tmp_path


def save(file: Path, kind: str, text: str) -> None:
    """Writes what a page says to save; of YAML, sections are added or replaced."""
    if kind == "yaml" and file.exists():
        sections = yaml.safe_load(file.read_text(encoding="utf-8")) | yaml.safe_load(text)
        text = yaml.safe_dump(sections)
    file.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def served(folder: Path, command: str) -> Iterator[None]:
    """The server of a page, until the block ends."""
    log = folder / "server.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, stdout=output, stderr=output
        ) as server,
    ):
        try:
            while "serving films version" not in log.read_text(encoding="utf-8"):
                assert server.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.2)
            yield
        finally:
            server.terminate()


def run(folder: Path, commands: str) -> str:
    """What commands print on both streams."""
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return done.stdout


@pytest.mark.slow
def test_tutorials_run(folder: Path) -> None:
    text = "".join((ROOT / f"docs/tutorials/{page}.md").read_text("utf-8") for page in PAGES)
    with free_ports(2) as ports:
        text = text.replace("8500", str(ports[0])).replace("8501", str(ports[1]))
    printed = ""
    with contextlib.ExitStack() as servers:
        for block in BLOCK.finditer(text):
            if block["kind"]:
                named = re.findall(r"`(out/tutorial/\w+\.\w+)`", text[: block.start()])
                save(folder / named[-1], block["kind"], block["text"])
                continue
            lines = textwrap.dedent(block["lines"]).strip()
            if re.match(r"(mkdir|python|PYTHONPATH=)", lines):
                commands, _, server = lines.partition("python -m serving serve ")
                printed = run(folder, commands)
                if server:
                    servers.enter_context(served(folder, f"python -m serving serve {server}"))
                continue
            for line in lines.splitlines():
                if line.endswith("..."):
                    assert line.removesuffix("...").rstrip() in printed
        # The last page asks for one more candidate in the request.
        request = json.loads((folder / "out/tutorial/user.json").read_text(encoding="utf-8"))
        request["candidates"].append("180000")
        (folder / "out/tutorial/user.json").write_text(json.dumps(request), encoding="utf-8")
        last = re.findall(r"python -m serving predict (?:.*\\\n)*.*", text)[-1]
        ranked = run(folder, last)
        assert "version 2" in ranked
        assert "180000" in ranked
