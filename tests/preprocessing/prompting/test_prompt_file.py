from __future__ import annotations

import csv
import hashlib
import json
import stat

from preprocessing.prompting.prompt_file import open_prompt_file
from preprocessing.prompting.reading import Scratch
from preprocessing.prompting.token_costs import PromptCount


def write_some(tmp_path, pseudonyms: bool):
    with (
        Scratch(tmp_path / "scratch.sqlite") as scratch,
        open_prompt_file(tmp_path, scratch, pseudonyms) as file,
    ):
        file.start("user_liked", "user", "collective")
        file.write("item", "item", "individual", "318", "Introduce “it”")
        file.write("user", "user", "individual", "ann", "same")
        file.write("user", "user", "individual", "bob", "same")
        file.write("item", "item", "collective", "7", "group")
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
        PromptCount("user_liked", "user", "collective", 0, 0),
        PromptCount("item", "item", "individual", 1, 5),
        PromptCount("user", "user", "individual", 2, 2),
        PromptCount("item", "item", "collective", 1, 2),
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
