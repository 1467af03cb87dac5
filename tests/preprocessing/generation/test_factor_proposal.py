from __future__ import annotations

import json
from pathlib import Path

import pytest

from preprocessing.__main__ import main
from preprocessing.prompt_templates import load_prompt_scenario
from tests.preprocessing.generation.chat_server import (
    Call,
    Reply,
    chat_server,
    completion,
    failure,
)

ANSWER = "Item factors:\n1. Theme\n2. Mechanics\n\nUser factors:\n1. Luck\n2. Theme\n"


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "games.yaml"
    tree = {
        "name": "games",
        "work_dir": str(tmp_path / "work"),
        "data": {"interactions": {"path": "i.csv"}, "catalogue": {"path": "c.csv"}},
        "knowledge": {
            "answers": {"item": {"entity": "item", "individual": ["a.jsonl"]}},
            "sources": ["item"],
        },
        "generation": {"model": "toy", "retries": 2, "retry_delay_seconds": 0.01},
    }
    path.write_text(json.dumps(tree))  # JSON is YAML
    return str(path)


def propose(capsys, config: str, *more: str) -> tuple[int, dict, str]:
    code = main(
        ["prompts", "--propose-factors", "--scenario-text", "board games", "--json",
         "--config", config, *more]
    )  # fmt: skip
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def test_the_answer_becomes_a_scenario_and_is_paid_once(capsys, config, tmp_path):
    def hiccup_then_answer(call: Call) -> Reply:
        return failure(503) if call.number == 1 else completion(ANSWER)

    out = tmp_path / "scenarios" / "games.yaml"
    with chat_server(hiccup_then_answer) as server:
        options = (f"generation.base_url={server.url}", "--out", str(out))
        code, result, err = propose(capsys, config, *options)
        assert code == 0 and result["output"] == str(out) and result["calls"] == 1
        assert result["factors"] == {"item": ["Theme", "Mechanics"], "user": ["Luck", "Theme"]}
        assert '"board games"' in server.seen[0].prompt == result["prompt"]
        assert "expert" in err and str(out) in err
        factors = load_prompt_scenario(out).factors
        assert factors.item == ("Theme", "Mechanics") and factors.user == ("Luck", "Theme")

        code, _, err = propose(capsys, config, *options)
        assert code == 1 and "--force" in err
        code, result, _ = propose(capsys, config, *options, "--force")
        assert code == 0 and result["calls"] == 0
        assert server.calls.total() == 2


def test_without_out_the_file_lies_in_the_work_directory(capsys, config, tmp_path):
    with chat_server(lambda call: completion(ANSWER)) as server:
        code, result, _ = propose(capsys, config, f"generation.base_url={server.url}")
    assert code == 0
    assert result["output"] == str(tmp_path / "work" / "factor_proposal" / "board_games.yaml")
    assert load_prompt_scenario(Path(result["output"])).name == "board_games"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (completion("I would rather not."), "I would rather not."),
        (completion(""), "no answer (blank_answer)"),
        (failure(401), "the key is wrong"),
    ],
)
def test_no_factors_no_file(capsys, config, tmp_path, reply, message):
    with chat_server(lambda call: reply) as server:
        code, result, err = propose(capsys, config, f"generation.base_url={server.url}")
    assert (code, result) == (1, {}) and message in err and "Traceback" not in err
    assert not list((tmp_path / "work").rglob("*.yaml"))


def test_the_budget_counts(capsys, config):
    with chat_server(lambda call: completion(ANSWER)) as server:
        options = (f"generation.base_url={server.url}", "generation.budget_tokens=100")
        code, _, err = propose(capsys, config, *options)
    assert code == 1 and "no room for the next call" in err and server.calls.total() == 0


def test_clients_that_answer_nothing_new_are_refused(capsys, config):
    code, _, err = propose(capsys, config, "generation.client=batch-file")
    assert code == 2 and "'batch-file' answers nothing new" in err
