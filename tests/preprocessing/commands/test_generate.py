from __future__ import annotations

import argparse
import json

import pytest
import yaml

from configs.command_line import TeachingParser
from configs.loading import ConfigurationError
from preprocessing.__main__ import main
from preprocessing.commands import generate

PROMPT = {"custom_id": "item/1", "source": "item", "entity_id": "1", "extraction": "individual",
          "prompt": "Jaws?"}  # fmt: skip


@pytest.fixture
def prompts(tmp_path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps(PROMPT))
    return str(path)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = TeachingParser()
    generate.add_command(parser.add_subparsers())
    return parser.parse_args(["generate", "--prompts", "p", "--out", "o", *arguments])


def test_options_win_over_overrides_and_those_over_the_file(small_tree, small_folder):
    path = small_folder / "scenario.yaml"
    section = {"model": "file", "max_tokens": 7, "concurrency": 3, "keep_truncated": True}
    path.write_text(yaml.safe_dump({**small_tree, "generation": section}))
    arguments = parsed(
        "generation.max_tokens=8", "generation.concurrency=4",
        "--config", str(path), "--concurrency", "5", "--temperature", "0",
    )  # fmt: skip
    settings = generate.generation_settings(arguments)
    assert (settings.model, settings.max_tokens, settings.concurrency) == ("file", 8, 5)
    assert settings.keep_truncated and settings.temperature == 0.0


def test_without_a_scenario_the_defaults_hold():
    settings = generate.generation_settings(parsed("--model", "m", "--keep-truncated"))
    assert (settings.client, settings.model, settings.max_tokens) == ("openai", "m", 512)
    assert settings.keep_truncated
    with pytest.raises(ConfigurationError, match="--config"):
        generate.generation_settings(parsed("generation.retries=1"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name the LLM"),
        (["--model", "m"], "OPENAI_API_KEY is empty"),
        (["--model", "m", "--base-url", "localhost:80"], "is no address; write one such as"),
        (["--model", "m", "--base-url", "http://me:secret@host/v1"], "must not hold a password"),
        (["--model", "m", "--budget-usd", "1"], "needs price_input and price_output"),
        (["--model", "m", "--client", "batch-file", "--json-schema", "none.json"], "none.json"),
        (["--client", "replay"], "--replay FILE go together"),
        (["--model", "m", "--base-url", "http://h/v1", "--read-batch", "x"], "needs --client"),
        (["--client", "replay", "--replay", "none.jsonl"], "no file 'none.jsonl'"),
    ],
)
def test_settings_that_do_not_fit_exit_with_2(
    capsys, monkeypatch, prompts, tmp_path, options, message
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    out = tmp_path / "out"
    assert main(["generate", "--prompts", prompts, "--out", str(out), *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == "" and not out.exists()
    assert "secret" not in captured.err and "Traceback" not in captured.err


def test_a_value_out_of_a_fields_range_is_wrong_usage(capsys, prompts, tmp_path):
    with pytest.raises(SystemExit) as raised:
        main(["generate", "--prompts", prompts, "--out", str(tmp_path), "--concurrency", "0"])
    assert raised.value.code == 2
    assert "--concurrency: expected a number greater" in capsys.readouterr().err


def test_a_missing_prompt_file_is_named(capsys, tmp_path):
    code = main(["generate", "--prompts", "none.jsonl", "--out", str(tmp_path), "--client",
                 "batch-file", "--model", "m"])  # fmt: skip
    assert code == 2 and "--prompts: there is no file 'none.jsonl'" in capsys.readouterr().err


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["generate", "--help"])
    text = capsys.readouterr().out
    assert raised.value.code == 0
    assert "--read-batch FILE" in text and "generation.stop_after_failures" in text
