from __future__ import annotations

import argparse
import json

import pytest
import yaml

from configs.command_line import TeachingParser
from configs.loading import ConfigurationError
from preprocessing.__main__ import main
from preprocessing.commands.answers import add_generate, generation_settings
from tests.preprocessing.answers.small_files import (
    DOCUMENTS,
    TEXTS,
    batch_line,
    prompt,
    read_lines,
    record,
    write,
)

PROMPT = {"custom_id": "item/1", "source": "item", "entity_id": "1", "extraction": "individual",
          "prompt": "Jaws?"}  # fmt: skip


@pytest.fixture
def prompts(tmp_path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps(PROMPT))
    return str(path)


def parsed(*arguments: str) -> argparse.Namespace:
    parser = TeachingParser()
    add_generate(parser.add_subparsers())
    return parser.parse_args(["generate", "--prompts", "p", "--out", "o", *arguments])


def test_options_win_over_overrides_and_those_over_the_file(small_tree, small_folder):
    path = small_folder / "scenario.yaml"
    section = {"model": "file", "max_tokens": 7, "concurrency": 3, "keep_truncated": True}
    path.write_text(yaml.safe_dump({**small_tree, "generation": section}))
    arguments = parsed(
        "generation.max_tokens=8", "generation.concurrency=4",
        "--config", str(path), "--concurrency", "5", "--temperature", "0",
    )  # fmt: skip
    settings = generation_settings(arguments)
    assert (settings.model, settings.max_tokens, settings.concurrency) == ("file", 8, 5)
    assert settings.keep_truncated and settings.temperature == 0.0


def test_without_a_scenario_the_defaults_hold():
    settings = generation_settings(parsed("--model", "m", "--keep-truncated"))
    assert (settings.client, settings.model, settings.max_tokens) == ("openai", "m", 512)
    assert settings.keep_truncated
    with pytest.raises(ConfigurationError, match="--config"):
        generation_settings(parsed("generation.retries=1"))


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


@pytest.mark.parametrize("further", [[], ["--dry-run"]])
def test_a_file_is_no_output_folder(capsys, prompts, tmp_path, further):
    out = tmp_path / "out"
    out.write_text("mine")
    words = ["--client", "batch-file", "--model", "m", *further]
    assert main(["generate", "--prompts", prompts, "--out", str(out), *words]) == 2
    assert f"--out {out}: this is a file; name a folder" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_the_help_teaches(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["generate", "--help"])
    text = capsys.readouterr().out
    assert raised.value.code == 0
    assert "--read-batch FILE" in text and "generation.stop_after_failures" in text


def test_json_is_the_summary_and_people_read_stderr(run, tmp_path):
    path = write(tmp_path / "a.jsonl", [*DOCUMENTS["openai-batch"], batch_line("item/9", "Hm.")])
    out = tmp_path / "out"
    code, printed, said = run("import", "--source", "item", "--out", out, "--json", path)
    assert code == 0
    result = json.loads(printed)
    assert (result["read"], result["accepted"], result["rejected"]) == (4, 3, 1)
    assert result["rejected_by_reason"] == {"too_short": 1}
    assert json.loads((out / "summary.json").read_text()) == result
    assert "openai-batch" in said and "4 answers read, 3 accepted" in said

    code, printed, said = run("import", "--source", "item", "--out", out, "--strict", path)
    assert (code, printed) == (3, "") and "dead_letters.jsonl" in said


def test_options_reach_the_import(run, tmp_path):
    path = write(tmp_path / "a.json", {"1": TEXTS["1"], "2": TEXTS["1"], "3": "Hm"})
    options = (
        "--format id-text --extraction collective --model m --gzip --allow-duplicates "
        "--minimum-characters 1 --truncation off"
    )
    code, _, _ = run(
        "import", "--source", "item", "--out", tmp_path / "out", *options.split(), "--strict", path
    )
    assert code == 0
    answers = read_lines(tmp_path / "out" / "answers.jsonl.gz")
    assert [(answer["custom_id"], answer["model"]) for answer in answers] == [
        ("item/group/1", "m"),
        ("item/group/2", "m"),
        ("item/group/3", "m"),
    ]


def test_prompt_files_may_be_several(run, tmp_path):
    prompts = [
        write(tmp_path / name, [prompt(f"user/{name}", entity, "Who?")])
        for name, entity in [("x", "1"), ("y", "2")]
    ]
    lines = [batch_line("user/x", TEXTS["1"]), batch_line("user/y", TEXTS["2"])]
    path, out = write(tmp_path / "batch", lines), tmp_path / "out"
    options = ["--prompts", prompts[0], "--prompts", prompts[1], "--strict"]
    assert run("import", "--source", "user", "--out", out, *options, path)[0] == 0
    assert [answer["entity_id"] for answer in read_lines(out / "answers.jsonl")] == ["1", "2"]


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ([b'{"1": nothing'], 1, "line 1, column 7"),
        ([record("1", "x"), batch_line("item/2", "x")], 1, "--format: openai-batch, records"),
        (None, 2, "there is no file"),
    ],
)
def test_errors_without_traceback(run, tmp_path, document, code, message):
    path = tmp_path / "file.json"
    if document is not None:
        write(path, document)
    actual, printed, said = run(
        "import", "--source", "item", "--out", tmp_path / "out", "--json", path
    )
    assert (actual, printed) == (code, "")
    assert str(path) in said and message in said and "Traceback" not in said


def test_wrong_usage(capsys, tmp_path):
    for line in ("import", "import --source item x", "import --source item --out o --format x y"):
        with pytest.raises(SystemExit) as raised:
            main(line.split())
        assert raised.value.code == 2
        assert "--help" in capsys.readouterr().err


def test_groups_in_place_of_answers(run, tmp_path):
    path, out = write(tmp_path / "g.json", {"1": [16, 91]}), tmp_path / "out"
    options = ["--groups", path, "--entity", "user", "--out", out]
    code, printed, said = run("import", *options, "--place", "2", "--json")
    assert code == 0 and json.loads(printed)["groups"] == str(out / "groups.csv")
    assert (out / "groups.csv").read_text() == "user_id,group_id\n1,91\n"
    assert "1 users in 1 groups" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--groups", "g.json"], "--entity: say what the ids"),
        (["--groups", "g.json", "--entity", "item", "--source", "item"], "--source is for answers"),
        (["--groups", "g.json", "--entity", "item", "a.jsonl"], "FILE is for answers"),
        (["--source", "item", "--place", "1", "a.jsonl"], "--place goes with --groups"),
        (["--source", "item", "--entity", "item", "a.jsonl"], "--entity goes with --groups"),
        (["a.jsonl"], "--source: say of which source"),
        (["--source", "item"], "FILE: name the answer files"),
    ],
)
def test_options_of_answers_and_of_groups_do_not_mix(run, tmp_path, options, message):
    code, _, said = run("import", *options, "--out", tmp_path / "out")
    assert code == 2 and message in said


@pytest.fixture
def config(small_tree, small_folder) -> str:
    path = small_folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(small_tree | {"prompts": {"scenario": "books"}}))
    return str(path)


def test_prices_come_from_the_command_line_or_the_scenario(run, config, small_folder):
    out = small_folder / "prompts.jsonl"
    given = ("--price-input", "1", "--price-output", "2", "--out", str(out))
    code, printed, shown = run("prompts", "--config", config, *given, "--json")
    assert code == 0 and out.exists() and "US dollars" in shown
    total = json.loads(printed)["costs"][-1]
    assert total["cost"] == pytest.approx((total["prompt_tokens"] + 2 * 7 * 150) / 1e6)
    code, printed, _ = run(
        "prompts", "--config", config, "--json", "--price-output", "0",
        "generation.price_input=1", "generation.price_output=2",
    )  # fmt: skip
    repriced = json.loads(printed)
    assert repriced["skipped"]
    assert repriced["costs"][-1]["cost"] == pytest.approx(total["prompt_tokens"] / 1e6)


def test_people_get_nothing_on_stdout(run, config):
    code, printed, shown = run("prompts", "--config", config, "--dry-run")
    assert (code, printed) == (0, "") and "would be written" in shown


def test_the_prompt_for_factors_needs_no_scenario(run):
    code, printed, shown = run(
        "prompts", "--propose-factors", "--dry-run", "--scenario-text", "board games", "--json"
    )
    prompt = json.loads(printed)["prompt"]
    assert code == 0 and '"board games"' in prompt and prompt in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config is missing"),
        (["--propose-factors", "--dry-run"], "give --scenario-text"),
        (["CONFIG", "--propose-factors"], "give --scenario-text"),
        (["--propose-factors", "--scenario-text", "x"], "name a scenario with --config"),
        (["--scenario-text", "x"], "goes with --propose-factors"),
        (["CONFIG", "prompts.scenario=games"], "there is no scenario 'games'"),
        (["CONFIG", "prompts.scenarios=books"], "Did you mean 'prompts.scenario'?"),
        (["CONFIG", "--source", "film"], "no source 'film'"),
    ],
)
def test_mistakes_exit_with_2(run, config, arguments, message):
    given = ["--config", config, *arguments[1:]] if arguments[:1] == ["CONFIG"] else arguments
    code, printed, shown = run("prompts", *given)
    assert (code, printed) == (2, "") and message in shown and "Traceback" not in shown


@pytest.mark.parametrize("price", ["-1", "nan", "inf", "cheap"])
def test_prices_are_numbers(run, capsys, config, price):
    with pytest.raises(SystemExit) as raised:
        run("prompts", "--config", config, f"--price-input={price}")
    assert raised.value.code == 2 and "--price-input: expected" in capsys.readouterr().err
