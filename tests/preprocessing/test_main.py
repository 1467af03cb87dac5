from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from preprocessing.__main__ import main
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.answers.small_files import TEXTS, write


@pytest.fixture
def config(small_tree, small_folder) -> str:
    path = small_folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(small_tree))
    return str(path)


def test_all_runs_everything_and_strict_reports_rejected_records(run, config, small_tree):
    code, out, err = run("all", "--config", config, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["step"] == "all" and not result["skipped"]
    assert [step["step"] for step in result["steps"]] == ["examples", "encode"]
    for step in [result, *result["steps"]]:
        accounted = step["records_out"] + step["dead_letters"]
        assert step["records_in"] == accounted
    assert "examples: 18 interactions" in err and "encode item: 5 answers" in err
    for name in ("ann", "bob", "eve"):
        assert not re.search(rf"\b{name}\b", err)
    work = WorkDirectory(small_tree["work_dir"])
    assert work.examples.manifest.exists() and work.knowledge("item").manifest.exists()

    code, out, err = run("all", "--config", config, "--json", "--strict")
    assert code == 3
    assert json.loads(out) == {
        **result,
        "seconds": json.loads(out)["seconds"],
        "skipped": True,
        "steps": json.loads(out)["steps"],
    }
    assert "skipped" in err and "dead_letters.jsonl" in err


def test_people_get_nothing_on_stdout(run, config):
    code, out, err = run("examples", "--config", config, "split.by=user")
    assert (code, out) == (0, "") and "samples" in err


def test_dry_run_says_what_would_be_done(run, config, small_folder):
    code, out, err = run("all", "--config", config, "--dry-run", "--json")
    assert code == 0 and not (small_folder / "work").exists()
    assert json.loads(out)["steps"][0]["would_skip"] is False
    assert "examples: would run" in err and "encode item: would run" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "data.colour=red"], "unknown key 'data.colour'"),
        (["encode", "--source", "film"], "no source 'film'"),
        (["examples", "--beam-option", "workers"], "write it as KEY=VALUE"),
        (["examples", "--runner", "NoSuchRunner"], "NoSuchRunner"),
        (["examples", "data.interactions.columns.user=who"], "no column 'who'"),
    ],
)
def test_wrong_configuration_exits_with_2(run, config, arguments, message):
    code, out, err = run(arguments[0], "--config", config, *arguments[1:])
    assert (code, out) == (2, "")
    assert message in err and "Traceback" not in err


def test_wrong_usage_exits_with_2(capsys):
    for arguments in (["encode"], ["import"], []):
        with pytest.raises(SystemExit) as raised:
            main(arguments)
        assert raised.value.code == 2
        assert "--help" in capsys.readouterr().err


def test_a_cut_off_file_exits_with_1(run, config, small_folder):
    cut = small_folder / "ratings.csv.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00\x00")
    code, out, err = run("examples", "--config", config, f"data.interactions.path={cut}")
    assert (code, out) == (1, "")
    assert "ratings.csv.gz: the file is cut off" in err and "Traceback" not in err


_COMMANDS_AND_WHAT_THEY_LOADED = """
import json, sys
import preprocessing.records.contract, preprocessing.records.item_tables
import preprocessing.records.knowledge
from preprocessing.__main__ import main

for arguments in json.loads(sys.argv[1]):
    try:
        code = main(arguments)
    except SystemExit as ending:
        code = ending.code
    heavy = {"apache_beam", "tensorflow", "sklearn", "onnxruntime"} & set(sys.modules)
    print(arguments[0], code, sorted(heavy))
"""


def test_what_needs_no_heavy_library_imports_none(
    repository_root, config, small_tree, small_folder, tmp_path
):
    grouped = {"entity": "item", "collective": ["later.jsonl"], "grouping": {"maximum_size": 3}}
    knowledge = {"knowledge": {"sources": ["item"], "answers": {"item": grouped}}}
    grouping = small_folder / "grouping.yaml"
    grouping.write_text(yaml.safe_dump(small_tree | knowledge))
    assert main(["group", "--config", str(grouping)]) == 0
    answers = write(tmp_path / "a.json", TEXTS)
    commands = [
        ["import", "--source", "item", "--out", str(tmp_path / "out"), answers],
        ["prompts", "--config", config, "--dry-run", "prompts.scenario=books"],
        ["group", "--config", str(grouping)],
        ["encode", "--help"],
        ["group", "--config", str(grouping), "--force"],
    ]
    finished = subprocess.run(
        [sys.executable, "-c", _COMMANDS_AND_WHAT_THEY_LOADED, json.dumps(commands)],
        cwd=repository_root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, *shown, last = finished.stdout.splitlines()[2:]
    assert finished.stdout.splitlines()[:2] == ["import 0 []", "prompts 0 []"]
    assert (first, shown[-1]) == ("group 0 []", "encode 0 []")
    assert "--source NAME" in finished.stdout and "knowledge.encoder.kind" in finished.stdout
    assert last.startswith("group 0 [") and "sklearn" in last


def test_the_program_runs_quietly(repository_root, config):
    finished = subprocess.run(
        [sys.executable, "-m", "preprocessing", "all", "--config", config, "--json"],
        cwd=repository_root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(finished.stdout)["records_in"] == 23
    steps = dict.fromkeys(line.split(":")[0] for line in finished.stderr.splitlines())
    assert list(steps) == ["examples", "encode item"]
