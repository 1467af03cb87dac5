"""Overrides of commands in documents, help texts and comments: the ready scenarios take them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.loading import load_scenario

ROOMS = ("configs", "docs", "examples", "models", "preprocessing", "serving", "trainer")
ENDINGS = {".md", ".py", ".yaml"}
COMMAND = re.compile(
    r"python -m (?:preprocessing|trainer)\S* +(\w+) [^`\n]*?--config (configs/\S+\.yaml)([^`\n]*)"
)
OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_0-9]+)+=.+|work_dir=.+|run_dir=.+")
STANDS_FOR_OTHERS = re.compile(r"\b[A-Z]{2,}\b|=seed\b")


def documented_commands(root: Path) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    files = [root / "README.md"]
    for room in ROOMS:
        files += [path for path in sorted((root / room).rglob("*")) if path.suffix in ENDINGS]
    for path in files:
        text = re.sub(r"\\+\n[ #]*", " ", path.read_text(encoding="utf-8"))
        for command, config, rest in COMMAND.findall(text):
            written = re.split(r"   | #", rest)[0]
            is_shell = written.count("'") % 2 == written.count('"') % 2 == 0
            words = shlex.split(written) if is_shell else written.split()
            overrides = [word for word in words if OVERRIDE.fullmatch(word)]
            if not any(STANDS_FOR_OTHERS.search(word) for word in overrides):
                yield str(path.relative_to(root)), command, config, tuple(overrides)


COMMANDS = sorted(set(documented_commands(Path(__file__).parents[2])))


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 40
    assert ("model.adapter=none",) in [overrides for _, _, _, overrides in COMMANDS]


@pytest.mark.parametrize(("file", "command", "config", "overrides"), COMMANDS)
def test_the_scenario_takes_the_overrides(
    repository_root: Path, file: str, command: str, config: str, overrides: tuple[str, ...]
) -> None:
    is_range = re.compile(r"[^=]+=(choice:|log:|[\d.e-]+\.\.)")
    plain = [word for word in overrides if not (command == "tune" and is_range.match(word))]
    path = repository_root / config
    if path.exists():
        load_scenario(path, plain, for_all_arms=command == "experiment")
    else:
        assert "my" in config or "FILE" in config, f"{file} names {config}, which is not there"
