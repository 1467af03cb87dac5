from __future__ import annotations

import json

import pytest

from preprocessing.__main__ import main
from tests.preprocessing.answers.small_files import (
    DOCUMENTS,
    TEXTS,
    batch_line,
    prompt,
    read_lines,
    record,
    write,
)


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
