from __future__ import annotations

import json

import pytest
import yaml


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
