"""The command `generate` as the tests run it: in process, and with its counts reconciled."""

from __future__ import annotations

import json
from pathlib import Path

from preprocessing.__main__ import main
from tests.preprocessing.answers.small_files import read_lines
from tests.preprocessing.generation.chat_server import ChatServer


def generate(capsys, prompts: str, out: Path, *options: str) -> tuple[int, dict, str]:
    """Exit code, summary and what was said on standard error; every prompt is accounted for."""
    code = main(["generate", "--prompts", prompts, "--out", str(out), "--json", *options])
    captured = capsys.readouterr()
    summary = json.loads(captured.out) if captured.out else {}
    if summary and not summary.get("dry_run"):
        assert summary == json.loads((out / "summary.json").read_text())
        assert summary["read"] == sum(
            summary[name] for name in ("answered", "rejected", "not_attempted")
        )
        assert summary["answered"] == len(read_lines(out / "answers.jsonl"))
        assert summary["rejected"] == sum(summary["rejected_by_reason"].values())
    return code, summary, captured.err


def endpoint(server: ChatServer, *more: str) -> list[str]:
    """Options that ask the server."""
    return ["--base-url", server.url, "--model", "toy", *more]


def fast_retries(config: Path, **generation: object) -> list[str]:
    """Options that name a scenario with short delays."""
    tree = {
        "name": "small",
        "work_dir": "work",
        "data": {"interactions": {"path": "i.csv"}, "catalogue": {"path": "c.csv"}},
        "knowledge": {"answers": {"item": {"entity": "item", "individual": ["a.jsonl"]}},
                      "sources": ["item"]},
        "generation": {"retry_delay_seconds": 0.01, "retries": 3, **generation},
    }  # fmt: skip
    config.write_text(json.dumps(tree))  # JSON is YAML
    return ["--config", str(config)]


def reasons(out: Path) -> dict[int, str]:
    """The reason of each dead letter, by its line in the prompt file."""
    return {letter["line"]: letter["reason"] for letter in read_lines(out / "dead_letters.jsonl")}
