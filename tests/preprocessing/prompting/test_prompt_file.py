from __future__ import annotations

import csv
import hashlib
import json
import stat

from preprocessing.prompting.prompt_file import open_prompt_file
from preprocessing.prompting.questions import Question
from preprocessing.prompting.reading import Scratch
from preprocessing.prompting.token_costs import PromptCount


def asked(source: str, entity: str, extraction: str, **more) -> Question:
    fixed = {"until": ""}
    prose = {"is_prose": True, "texts": (), "lists": {}}
    return Question(source, entity, extraction, ("{title}",), fixed, **(prose | more))


def write_some(tmp_path, pseudonyms: bool):
    with (
        Scratch(tmp_path / "scratch.sqlite") as scratch,
        open_prompt_file(tmp_path, scratch, pseudonyms) as file,
    ):
        file.start(asked("user_liked", "user", "collective"))
        file.write(asked("item", "item", "individual"), "318", {"title": "Introduce “it”"})
        for user in ("ann", "bob"):
            file.write(asked("user", "user", "individual"), user, {"title": "same"})
        file.write(asked("item", "item", "collective"), "7", {"title": "group"})
        counts = file.counts()
    records = [json.loads(line) for line in (tmp_path / "prompts.jsonl").open(encoding="utf-8")]
    table = list(csv.reader((tmp_path / "custom_ids.csv").open(encoding="utf-8")))
    return records, table, counts


def test_records_follow_the_contract(tmp_path):
    records, _, counts = write_some(tmp_path, pseudonyms=True)
    assert records[0] == {
        "custom_id": "item/318",
        "source": "item",
        "entity_id": "318",
        "extraction": "individual",
        "model": None,
        "prompt": "Introduce “it”",
        "prompt_sha256": hashlib.sha256("Introduce “it”".encode()).hexdigest(),
    }
    assert records[3]["custom_id"] == "item/group/7"
    assert counts == [
        PromptCount("user_liked", "user", "collective"),
        PromptCount("item", "item", "individual", 1, 5, texts=1),
        PromptCount("user", "user", "individual", 2, 2, texts=2),
        PromptCount("item", "item", "collective", 1, 2, texts=1),
    ]


def test_a_prompt_that_asks_for_names_says_in_which_form(tmp_path):
    names = {"is_prose": False, "lists": {"links": 10}}
    with (
        Scratch(tmp_path / "scratch.sqlite") as scratch,
        open_prompt_file(tmp_path, scratch, True) as file,
    ):
        both = asked("item", "item", "individual", texts=("text",), lists={"peers": 3})
        file.write(both, "318", {"title": "A?"})
        groups = asked("links", "item", "collective", **names)
        for group, members in {"g": ["a", "b", "c"], "h": ["d"]}.items():
            file.write(groups, group, {"title": "B?"}, members=members)
        counts = file.counts()
    records = [json.loads(line) for line in (tmp_path / "prompts.jsonl").open(encoding="utf-8")]
    assert [record["prompt"] for record in records] == [
        'A? Answer with a JSON object {"text": text, "peers": [titles]}.',
        'B? Answer with a JSON object {"links": {"1": [titles], ..., "3": [titles]}}.',
        'B? Answer with a JSON object {"links": {"1": [titles]}}.',
    ]
    titles = {"type": "array", "items": {"type": "string"}}
    closed = {"type": "object", "additionalProperties": False}
    assert records[0]["json_schema"] == closed | {
        "properties": {"text": {"type": "string"}, "peers": titles}, "required": ["text", "peers"],
    }  # fmt: skip
    members = closed | {"properties": {"1": titles}, "required": ["1"]}
    assert records[2]["json_schema"] == closed | {
        "properties": {"links": members}, "required": ["links"],
    }  # fmt: skip
    assert [record.get("members") for record in records] == [None, ["a", "b", "c"], ["d"]]
    assert [(count.texts, count.names, count.most_names) for count in counts] == [
        (1, 3, 3),
        (0, 40, 30),
    ]


def test_custom_ids_of_users_are_pseudonyms_that_the_table_resolves(tmp_path):
    records, table, _ = write_some(tmp_path, pseudonyms=True)
    name = "user/" + hashlib.sha256(b"same").hexdigest()[:32]
    assert [record["custom_id"] for record in records[1:3]] == [name, f"{name}-2"]
    assert table == [
        ["custom_id", "source", "entity_id"],
        [name, "user", "ann"],
        [f"{name}-2", "user", "bob"],
    ]
    assert len({record["custom_id"] for record in records}) == len(records)
    assert stat.S_IMODE((tmp_path / "custom_ids.csv").stat().st_mode) == 0o600


def test_pseudonyms_can_be_left_out(tmp_path):
    records, table, _ = write_some(tmp_path, pseudonyms=False)
    assert [record["custom_id"] for record in records[1:3]] == ["user/ann", "user/bob"]
    assert len(table) == 1
