from __future__ import annotations

import json

import pytest
import yaml

from configs.command_line import TeachingParser
from preprocessing.beam_options import BeamOptions
from preprocessing.commands.options import add_step_options, epilog, step_options_of


@pytest.fixture
def config(small_tree, small_folder) -> str:
    answers = {"entity": "item", "collective": ["later.jsonl"], "grouping": {"maximum_size": 3}}
    path = small_folder / "scenario.yaml"
    path.write_text(
        yaml.safe_dump(
            small_tree | {"knowledge": {"sources": ["item"], "answers": {"item": answers}}}
        )
    )
    return str(path)


def test_groups_are_made_and_told(run, config, small_folder):
    code, printed, shown = run("group", "--config", config)
    assert (code, printed) == (0, "") and "group item: 5 of 5 items" in shown
    assert (small_folder / "work" / "groups" / "item" / "groups.csv").exists()
    code, printed, _ = run("group", "--config", config, "--source", "item", "--json", "--strict")
    assert code == 3  # one interaction is there twice
    result = json.loads(printed)
    assert result["step"] == "group" and result["skipped"]
    assert result["sources"]["item"]["counts"]["grouped"] == 5


def test_a_dry_run_writes_nothing(run, config, small_folder):
    code, printed, shown = run("group", "--config", config, "--dry-run", "--json")
    assert code == 0 and "group item: would run" in shown
    assert json.loads(printed)["sources"][0]["would_skip"] is False
    assert not (small_folder / "work").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "film"], "no source 'film'"),
        (["knowledge.answers.item.grouping.size=3"], "Did you mean"),
        (["knowledge.answers.item.grouping.maximum_size=1"], "maximum_size"),
        (["data.interactions.path=nowhere.csv"], "there is no file 'nowhere.csv'"),
    ],
)
def test_mistakes_exit_with_2(run, config, arguments, message):
    code, printed, shown = run("group", "--config", config, *arguments)
    assert (code, printed) == (2, "") and message in shown and "Traceback" not in shown


def test_a_command_line_becomes_keyword_arguments():
    parser = TeachingParser()
    add_step_options(parser)
    plain = parser.parse_args(["--config", "c.yaml"])
    assert step_options_of(plain) == {
        "strict": False,
        "force": False,
        "dry_run": False,
        "beam": BeamOptions(),
    }
    full = parser.parse_args(
        "--config c.yaml a=b --strict --force --dry-run --runner R --beam-option x=1"
        " --beam-option y=2 --staging gs://bucket/staging".split()
    )
    assert step_options_of(full) == {
        "strict": True,
        "force": True,
        "dry_run": True,
        "beam": BeamOptions("R", ("x=1", "y=2"), "gs://bucket/staging"),
    }


def test_the_help_ends_with_keys_and_exit_codes():
    text = epilog(["split"])
    assert "split.knowledge_history_cap" in text and "data.history_length" not in text
    assert "3 done in part: rejected records under --strict, or failed calls" in text
