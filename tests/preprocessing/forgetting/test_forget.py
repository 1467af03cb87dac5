"""`forget`: planted ids are nowhere afterwards, all other records are the same to the byte."""

from __future__ import annotations

import atexit
import contextlib
import csv
import functools
import gzip
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from configs.command_line import CommandError
from configs.loading import ConfigurationError, load_scenario
from configs.scenario import Scenario
from preprocessing.__main__ import main
from preprocessing.answers.completion import ChatResponse, Usage
from preprocessing.answers.record import prompt_sha256
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from preprocessing.forgetting import forget as forgetting
from preprocessing.forgetting.editing import Leaving, editor_of
from preprocessing.forgetting.forget import forget, read_ids
from preprocessing.forgetting.report import verify_report
from preprocessing.generation.answer_store import AnswerStore
from preprocessing.generation.chat import ChatParameters
from preprocessing.grouping.step import make_groups
from preprocessing.knowledge.vector_cache import list_cache, text_hash, write_vectors
from preprocessing.links.step import link
from preprocessing.prompting.step import build_prompts
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import decode_example
from tests.scenarios import ITEMS, USERS, write_tiny_inputs
from trainer.tables import require_named_inputs

USER, ITEM = "planted-user-q7", "planted-item-z9"
OWNED = ("ratings.csv", "films.csv", "users.csv")
SOURCES = ("item", "user", "links", "likes", "user_groups")


def _renamed(value: str) -> str:
    return {"u7": USER, "12": ITEM}.get(value, value)


@functools.cache
def _original() -> Path:
    """A folder with inputs and a complete work directory; nobody changes it."""
    folder = Path(tempfile.mkdtemp(prefix="forget_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with contextlib.chdir(folder):  # Paths relative to it mean the same in every copy.
        _write_all(Path())
    return folder


def _write_all(folder: Path) -> None:
    config = write_tiny_inputs(folder)
    for path in folder.glob("*.csv"):
        rows = list(csv.reader(path.open(encoding="utf-8", newline="")))
        ids = rows[0].index("user_id") if "user_id" in rows[0] else None
        items = rows[0].index("item_id")
        for row in rows:
            for column in (ids, items):
                if column is not None:
                    row[column] = _renamed(row[column])
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    for path in folder.glob("*.jsonl"):
        records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        _write_lines(path, [r | {"entity_id": _renamed(r["entity_id"])} for r in records])
    lines = (folder / "item_answers.jsonl").read_text("utf-8").splitlines()
    pq.write_table(
        pa.Table.from_pylist([json.loads(line) for line in lines]), folder / "item_answers.parquet"
    )
    (folder / "item_answers.jsonl").unlink()
    with (folder / "films.csv").open("a", encoding="utf-8") as file:
        file.write("unrated,Film nobody rated,Drama,1990\n")
    _write_rows(
        folder / "users.csv",
        [("user_id", "city"), *((_renamed(user), "Oslo") for user in USERS)],
    )
    titled = [item for item in ITEMS if item not in ITEMS[-4:-2]]
    _write_lines(
        folder / "links.jsonl.gz",
        [
            _answer("links", _renamed(item), json.dumps({"links": _names(titled, place)}))
            for place, item in enumerate(titled)
        ],
    )
    # Two groups of users: one stays large enough without a member, the other does not.
    groups = {user: "large" if place < 9 else "small" for place, user in enumerate(USERS[2:14])}
    groups = {_renamed(user): group for user, group in groups.items()}
    groups |= {USERS[20]: "large", USER: "small"}
    _write_rows(folder / "groups.csv", [("user_id", "group_id"), *groups.items()])
    _write_lines(
        folder / "group_answers.jsonl",
        [
            _answer("user_groups", group, f"they like {group} films", "collective")
            for group in ("large", "small")
        ],
    )
    tree = yaml.safe_load(config.read_text("utf-8"))
    tree["data"] |= {
        "examples": ["ctr", "rerank", "retrieval"],
        "profiles": {
            "path": str(folder / "users.csv"),
            "attributes": {"city": {"kind": "categorical"}},
        },
    }
    answers = tree["knowledge"]["answers"]
    answers["item"]["individual"] = [str(folder / "item_answers.parquet")]
    answers["links"] = {
        "entity": "item",
        "individual": [str(folder / "links.jsonl.gz")],
        "links": {"names": 5, "dimension": 6},
    }
    answers["likes"] = {"entity": "item", "collaborative": {"dimension": 4}}
    answers["user_groups"] = {
        "entity": "user",
        "collective": [str(folder / "group_answers.jsonl")],
        "groups": str(folder / "groups.csv"),
    }
    answers["clusters"] = {
        "entity": "item",
        "collective": [str(folder / "none.jsonl")],
        "grouping": {"maximum_size": 12},
    }
    tree["prompts"] = {
        "scenario": "movies",
        "user_groups": {"user_groups": "liked"},
        "minimum_group_users": 4,
    }
    config.write_text(yaml.safe_dump(tree, sort_keys=False), "utf-8")
    _make(load_scenario(config))
    texts = sorted(map(text_hash, [_text_about(USER), _text_about("u3")]))
    write_vectors(CACHE, texts, np.ones([2, 3], np.float16))


CACHE = "work/encoded_texts/minilm-0"


def _text_about(user: str) -> str:
    records = map(json.loads, Path("user_answers.jsonl").open(encoding="utf-8"))
    return next(record["answer"] for record in records if record["entity_id"] == user)


def _make(scenario: Scenario, force: bool = False) -> None:
    make_groups(scenario, sources=["clusters"], force=force)
    build_prompts(scenario, sources=["item", "user", "user_groups"], force=force)
    link(scenario, force=force)
    encode(scenario, sources=SOURCES, force=force)
    build_examples(scenario, force=force)


def _names(titled: list[str], place: int) -> list[str]:
    return [f"Film {titled[(place + step) % len(titled)]}" for step in (1, 2, 3)] + ["Lost Film"]


def _answer(source, entity_id, answer, extraction="individual"):
    return {"source": source, "entity_id": entity_id, "extraction": extraction, "answer": answer}


def _write_lines(path: Path, records: list[dict]) -> None:
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _write_rows(path: Path, rows: list[tuple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(_original(), copy)
    monkeypatch.chdir(copy)
    return copy


def _scenario(folder: Path) -> Scenario:
    return load_scenario(folder / "tiny.yaml")


def _content(path: Path) -> bytes:
    """All that a file holds, unpacked."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return b"".join(array.tobytes() for array in arrays.values())
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        dictionaries = [
            chunk.dictionary.to_pylist()
            for column in table.columns
            for chunk in column.chunks
            if hasattr(chunk, "dictionary")
        ]
        return data + repr([table.to_pylist(), dictionaries]).encode()
    return data


def _holding(folder: Path, planted: str) -> set[str]:
    """Files that hold an id, without those of the owner."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in OWNED and planted.encode() in _content(path)
    }


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "forget_reports" not in path.parts
    }


def test_planted_ids_are_in_no_file_afterwards_and_no_later_step_brings_them_back(folder):
    scenario = _scenario(folder)
    held = {planted: _holding(folder, planted) for planted in (USER, ITEM)}
    assert "item_answers.parquet" in held[ITEM]
    assert {"groups.csv", "user_answers.jsonl", "work/prompts/custom_ids.csv"} <= held[USER]
    assert {"links.jsonl.gz", "work/links/links/links.parquet", "work/groups/clusters/groups.csv",
            "work/links/links/titles.parquet", "work/knowledge/links/link_vectors.arrow",
            "work/examples/item_attributes.parquet"} <= held[ITEM]  # fmt: skip
    for planted in held:
        for kind in ("ctr", "rerank", "retrieval"):
            assert any(name.startswith(f"work/examples/{kind}/train") for name in held[planted])
    # Prompts go to a service without the ids, which stay in fields of the house.
    prompts = [json.loads(line) for line in (folder / "work/prompts/prompts.jsonl").open()]
    assert {USER, ITEM} <= {prompt["entity_id"] for prompt in prompts}
    assert not any(USER in prompt["prompt"] + prompt["custom_id"] for prompt in prompts)
    backup = folder.parent / "backup"
    shutil.copytree(folder, backup)

    result = forget(scenario, [USER], [ITEM])
    for planted in held:
        assert not _holding(folder, planted)
        assert not {name for name in _hashes(folder) if planted in name}
    assert {entry["file"].rpartition("/")[2] for entry in result["still_there"]} == set(OWNED)
    for path in folder.rglob("*"):
        assert "forgetting" not in path.name and path.name != ".forget"

    # Somebody puts the old answers and an old step back, and runs everything.
    for name in ("user_answers.jsonl", "links.jsonl.gz", "groups.csv", "item_answers.parquet"):
        shutil.copy(backup / name, folder / name)
    shutil.rmtree(folder / "work/knowledge/user")
    shutil.copytree(backup / "work/knowledge/user", folder / "work/knowledge/user")
    assert not encode(scenario, sources=["user"])["skipped"]
    _make(scenario, force=True)
    assert _holding(folder / "work", USER) == _holding(folder / "work", ITEM) == set()
    letters = (folder / "work/knowledge/user/dead_letters.jsonl").read_text().splitlines()
    assert [json.loads(letter)["reason"] for letter in letters] == ["forgotten"]
    counts = json.loads((folder / "work/examples/manifest.json").read_text())["counts"]
    log = list(csv.DictReader((folder / "ratings.csv").open(encoding="utf-8")))
    gone = Counter(
        "forgotten_user_id" if row["user_id"] == USER else "forgotten_item_id"
        for row in log
        if row["user_id"] == USER or row["item_id"] == ITEM
    )
    assert counts["rejected_by_reason"] == {**gone, "unparsable_rating": 1}
    assert counts["catalogue"]["rejected_by_reason"] == {"forgotten_item_id": 1}
    assert counts["profiles"]["rejected_by_reason"] == {"forgotten_user_id": 1}


def test_all_other_records_are_the_same(folder):
    before = _original()
    forget(_scenario(folder), [USER], [ITEM])
    planted = (USER.encode(), ITEM.encode())
    history_entries = 0
    for path in sorted(folder.rglob("*")):
        old = before / path.relative_to(folder)
        if path.name.endswith(".tfrecord.gz"):
            kept = [record for record in read_records(path)]
            gone = (*planted, b"\x05small")  # The group that gets too small.
            untouched = [r for r in read_records(old) if not any(each in r for each in gone)]
            assert [record for record in kept if record in set(untouched)] == untouched
            edited = {_key(r): decode_example(r) for r in kept if r not in set(untouched)}
            for record in map(decode_example, read_records(old)):
                if (now := edited.get(_key_of(record))) is None:
                    continue
                stays = [item != planted[1] for item in record["history_item_id"]]
                history_entries += stays.count(False)
                assert now["history_item_id"] == [
                    i for i, s in zip(record["history_item_id"], stays, strict=True) if s
                ]
                np.testing.assert_array_equal(
                    now["history_rating"], record["history_rating"][stays]
                )
                for name in ("user_mean_rating", "user_log_count", "position", "profile_city"):
                    np.testing.assert_array_equal(now[name], record[name])
        elif path.name.endswith((".jsonl", ".jsonl.gz", ".csv", ".txt")) and old.name not in OWNED:
            lines = _content(old).splitlines(True)
            named = (*planted, b'"entity_id": "small"')
            kept_lines = [line for line in lines if not any(each in line for each in named)]
            assert _content(path).splitlines(True) == kept_lines
    assert history_entries > 100
    for source in SOURCES:
        old, new = (read_knowledge(root / "work", source) for root in (before, folder))
        stay = [row for row, name in enumerate(old.entity_ids) if name in set(new.entity_ids)]
        assert [old.entity_ids[row] for row in stay] == new.entity_ids
        np.testing.assert_array_equal(new.vectors, old.vectors[stay])
        if old.fold_vectors is not None:
            np.testing.assert_array_equal(new.fold_vectors, old.fold_vectors[:, stay])
    tables = [pq.read_table(root / "work/examples/item_attributes.parquet").to_pylist()
              for root in (before, folder)]  # fmt: skip
    assert tables[1] == [row for row in tables[0] if row["item_id"] != ITEM]
    links = [pq.read_table(root / "work/links/links/links.parquet").to_pylist()
             for root in (before, folder)]  # fmt: skip
    unlinked = {"linked": None, "how": "outside", "score": None}
    assert links[1] == [
        row | unlinked if row["linked"] == ITEM else row for row in links[0] if row["item"] != ITEM
    ]


def _key(record: bytes) -> object:
    return _key_of(decode_example(record))


def _key_of(record: dict) -> object:
    if "user_id" not in record:
        return None
    candidates = tuple(item for item in record["item_id"] if item != ITEM.encode())
    return (record["user_id"][0], candidates, int(record["position"][0]), len(record))


def test_a_group_of_users_stays_while_it_is_large_enough(folder):
    forget(_scenario(folder), [USER])
    # "small" had the user and three others; four are asked for.
    answers = [json.loads(line) for line in (folder / "group_answers.jsonl").open()]
    assert [answer["entity_id"] for answer in answers] == ["large"]
    vectors = read_knowledge(folder / "work", "user_groups")
    assert set(vectors.group_ids) == {"large"} and len(vectors.entity_ids) == 9 - 1 + 1


def test_vectors_of_texts_about_them_leave_the_cache(folder):
    others = text_hash(_text_about("u3"))
    forget(_scenario(folder), [USER])
    (file,) = list_cache(CACHE)
    assert pq.read_table(file.path)["text_sha256"].to_pylist() == [others]


def test_counts_add_up(folder, capsys):
    forget(_scenario(folder), [USER], [ITEM])
    assert main(["validate", str(folder / "work"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == 0


def test_finished_steps_stay_finished(folder):
    scenario = _scenario(folder)
    forget(scenario, [], [ITEM])
    results = encode(scenario, sources=["item", "user", "likes", "links"])["sources"]
    assert [result["skipped"] for result in results.values()] == [True] * 4
    assert build_examples(scenario)["skipped"]
    require_named_inputs(scenario, ["item", "user"])


@functools.cache
def _straight() -> dict[str, str]:
    """Hashes of the files after a run that nobody killed."""
    folder = Path(tempfile.mkdtemp(prefix="forget_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(_original(), folder, dirs_exist_ok=True)
    with contextlib.chdir(folder):
        SALTED.write("work")
        forget(_scenario(folder), [USER], [ITEM])
    return _hashes(folder)


SALTED = Forgotten("ab" * 32)


@pytest.mark.parametrize("edits", [0, 1, 17, 44])
def test_a_killed_run_is_finished_by_the_next_one(folder, monkeypatch, edits):
    expected, scenario = _straight(), _scenario(folder)
    SALTED.write(scenario.work_dir)
    replace, left = forgetting.os.replace, [edits]

    def stopped(source, target):
        if Path(source).name.endswith(".forgetting"):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(forgetting.os, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            forget(scenario, [USER], [ITEM])
    journal = Path(scenario.work_dir, ".forget/journal.jsonl")
    with journal.open("a") as file:
        file.write('{"file": "cut of')
    with pytest.raises(ConfigurationError, match="run 'python -m preprocessing forget' again"):
        require_named_inputs(scenario, ["item"])
    with pytest.raises(CommandError, match="other ids was interrupted"):
        forget(scenario, ["u1"])
    report = json.loads(Path(forget(scenario, [USER, USER], [ITEM])["report"]).read_text())
    assert _hashes(folder) == expected
    # What the killed run removed is counted, too.
    assert report["removed"]["values"] == 2
    assert all(entry["before"] != entry["after"] for entry in report["files"])


def test_a_dry_run_counts_and_writes_nothing(folder):
    before = _hashes(folder)
    dry = forget(_scenario(folder), [USER], [ITEM], dry_run=True)
    assert _hashes(folder) == before
    real = forget(_scenario(folder), [USER], [ITEM])
    assert any(name.endswith("link_vectors.arrow") for name in real["files"])
    assert dry["files"] == real["files"] and dry["still_there"] == real["still_there"]


def test_the_report_is_signed_and_holds_no_id(folder, monkeypatch, capsys):
    monkeypatch.setenv("REKI_REPORT_KEY", "secret")
    config = str(folder / "tiny.yaml")
    ids = folder.parent / "ids.txt"
    ids.write_text(f"{USER}\n\n")
    command = ["forget", "--config", config, "--json"]
    assert main([*command, "--user-file", str(ids), "--item", ITEM]) == 0
    report = Path(json.loads(capsys.readouterr().out)["report"])
    contents = json.loads(report.read_text())
    tombstones = json.loads((folder / "work/forgotten.json").read_text())
    assert {subject["hash"] for subject in contents["subjects"]} == {
        *tombstones["users"], *tombstones["items"]
    }  # fmt: skip
    for entry in contents["files"]:
        assert hashlib.sha256(Path(entry["file"]).read_bytes()).hexdigest() == entry["after"]
    assert main([*command, "--verify", str(report)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "report": str(report), "signed": True, "changed": []
    }  # fmt: skip
    (folder / "user_answers.jsonl").unlink()
    assert main([*command, "--verify", str(report)]) == 1
    assert json.loads(capsys.readouterr().out)["changed"] == [str(folder / "user_answers.jsonl")]
    contents["removed"]["records"] += 1
    for signature, message in (
        (contents["signature"], "the signature is wrong"),
        ({"value": "\u00fc"}, "the signature is wrong"),
        ("x", "not a report of 'forget'"),
        (None, "is not signed, and REKI_REPORT_KEY is set"),
    ):
        report.write_text(json.dumps({**contents, "signature": signature}))
        assert main([*command, "--verify", str(report)]) == 1
        assert message in capsys.readouterr().err
    report.write_text(json.dumps(contents))
    monkeypatch.delenv("REKI_REPORT_KEY")
    assert main([*command, "--verify", str(report)]) == 1
    assert "set REKI_REPORT_KEY" in capsys.readouterr().err
    assert main([*command, "--user", "u3"]) == 0
    unsigned = json.loads(capsys.readouterr().out)["report"]
    assert json.loads(Path(unsigned).read_text())["signature"] is None
    assert Path(unsigned).with_suffix(".md").read_text().count("Not signed") == 1


def test_made_anew_it_is_as_if_they_had_never_been_there(folder):
    asked = forget(_scenario(folder), [USER], [ITEM], dry_run=True)["to_do"]
    result = forget(_scenario(folder), [USER], [ITEM], recompute=True)
    report = Path(result["report"])
    assert verify_report(report)["changed"] == []
    contents = json.loads(report.read_text())
    assert contents["to_do"] == result["to_do"]
    done = [task["command"] for task in asked if task not in result["to_do"]]
    (encoded,) = [step["sources"] for step in result["recomputed"]["steps"] if "sources" in step]
    assert {command.split()[3] for command in done} == {"examples", "encode"}
    assert all(command.split()[7] in encoded for command in done if "encode" in command)
    assert len([*report.parent.iterdir()]) == 2
    for name in OWNED:
        rows = list(csv.reader((folder / name).open(encoding="utf-8", newline="")))
        _write_rows(folder / name, [row for row in rows if not {USER, ITEM} & set(row)])
    build_examples(load_scenario(folder / "tiny.yaml", ["work_dir=other"]))
    made_anew, never = folder / "work/examples", folder / "other/examples"
    names = [path.relative_to(never) for path in sorted(never.rglob("*.*")) if path.is_file()]
    assert len(names) > 20
    for name in names:
        if name.name not in ("manifest.json", "dead_letters.jsonl"):
            assert (made_anew / name).read_bytes() == (never / name).read_bytes(), name


def test_the_report_is_there_when_making_anew_fails(folder, monkeypatch):
    def fail(scenario: Scenario) -> None:
        raise CommandError("killed")

    monkeypatch.setattr(forgetting, "_recomputed", fail)
    with pytest.raises(CommandError, match="killed"):
        forget(_scenario(folder), [USER], recompute=True)
    (report,) = (folder / "work/forget_reports").glob("*.json")
    assert verify_report(report)["changed"] == []
    commands = [task["command"] for task in json.loads(report.read_text())["to_do"]]
    assert any(command.startswith("python -m preprocessing examples") for command in commands)


def test_nobody_empty_ids_and_paths_to_nothing_are_refused_before_anything_is_written(folder):
    gone = load_scenario(folder / "tiny.yaml", ["data.profiles.path=gone.csv"])
    for scenario, users, path, message in (
        (_scenario(folder), [], "work", "say who is forgotten"),
        (_scenario(folder), [" "], "work", "--user: an id is empty"),
        (_scenario(folder), [USER], "absent", "there is no file or folder 'absent'"),
        (gone, [USER], "work", "data.profiles.path: there is no file 'gone.csv'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            forget(scenario, users, paths=[Path(path)])
    assert not (folder / "work/forgotten.json").exists()


PARAMETERS = ChatParameters("m", None, None, 5, "max_tokens", None)


def test_what_generate_keeps_goes_too_but_not_answers_to_others_of_the_same_text(folder):
    texts = ["What does the listener like?", "Describe 'Dune'.", "Describe 'Heat'."]
    alone, shared, other = map(prompt_sha256, texts)
    out = folder / "out"
    (out / "batch").mkdir(parents=True)
    with AnswerStore(folder.parent / "answer_store.sqlite", PARAMETERS) as store:
        response = ChatResponse("fine", "stop", None, Usage(1, 1))
        store.add_batch_requests("requests-00000.jsonl", [(alone, 1), (shared, 1), (other, 1)])
        store.save([(alone, response), (shared, response), (other, response)])
        keys = [store.request_key(each, "requests-00000.jsonl") for each in (alone, shared, other)]
        # As a run leaves it that is killed: nothing is in the file itself yet.
        for path in folder.parent.glob("answer_store.sqlite*"):
            shutil.copy(path, out / path.name)
    assert (out / "answer_store.sqlite-wal").stat().st_size
    requests = [
        {"custom_id": key, "body": PARAMETERS.body(text)}
        for key, text in zip(keys, texts, strict=True)
    ]
    results = [{"custom_id": key, "response": {}} for key in [*keys, "of another store"]]
    answers = [
        _answer(source, entity_id, "fine") | {"prompt_sha256": sha256}
        for source, entity_id, sha256 in (
            ("user", USER, alone), ("item", ITEM, shared), ("item", "13", shared),
            ("item", "14", other),
        )
    ]  # fmt: skip
    files = {"batch/requests-00000.jsonl": requests, "results.jsonl": results,
             "answers.jsonl": answers}  # fmt: skip
    for name, records in files.items():
        _write_lines(out / name, records)

    with AnswerStore(out / "answer_store.sqlite", PARAMETERS):  # A run of generate.
        with pytest.raises(CommandError, match="wait for its end"):
            forget(_scenario(folder), [USER], [ITEM], paths=[out])
    forget(_scenario(folder), [USER], [ITEM], paths=[out])

    kept = {name: [*map(json.loads, (out / name).open())] for name in files}
    assert kept == {"batch/requests-00000.jsonl": requests[1:], "results.jsonl": results[1:],
                    "answers.jsonl": answers[2:]}  # fmt: skip
    assert [path.name for path in out.glob("answer_store*")] == ["answer_store.sqlite"]
    assert alone.encode() not in (out / "answer_store.sqlite").read_bytes()
    with AnswerStore(out / "answer_store.sqlite", PARAMETERS) as store:
        assert store.answers([alone, shared, other]).keys() == {shared, other}
        assert not store.batch_request(keys[0]) and not store.batch_request(keys[1]).is_read

    # The one who shared the prompt leaves as well. Without the store, the requests tell the keys.
    (out / "answer_store.sqlite").unlink()
    forget(_scenario(folder), [], ["13"], paths=[out])
    assert [*map(json.loads, (out / "results.jsonl").open())] == results[2:]


def test_prompts_of_groups_that_list_an_item_go_and_are_made_anew(folder):
    groups = {"one": [ITEM, "13", "14"], "two": ["15", "16"]}
    rows = [(item, group) for group, items in groups.items() for item in items]
    _write_rows(folder / "item_groups.csv", [("item_id", "group_id"), *rows])
    overrides = ["knowledge.answers.links.groups=item_groups.csv",
                 "knowledge.answers.links.collective=[none.jsonl]"]  # fmt: skip
    scenario = load_scenario(folder / "tiny.yaml", overrides)
    build_prompts(scenario, sources=["links"])
    made = _group_prompts(folder)
    assert {group: len(prompt["members"]) for group, prompt in made.items()} == {"one": 3, "two": 2}
    assert '"Film 12 (' in made["one"]["prompt"]
    out = folder / "out"
    out.mkdir()
    hashes = [made[group]["prompt_sha256"] for group in groups]
    with AnswerStore(out / "answer_store.sqlite", PARAMETERS) as store:
        response = ChatResponse("{}", "stop", None, Usage(1, 1))
        store.add_batch_requests("requests-00000.jsonl", [(sha256, 1) for sha256 in hashes])
        store.save([(sha256, response) for sha256 in hashes])
        keys = [store.request_key(sha256, "requests-00000.jsonl") for sha256 in hashes]
    requests = [
        {"custom_id": key, "body": PARAMETERS.body(made[group]["prompt"])}
        for key, group in zip(keys, groups, strict=True)
    ]
    _write_lines(out / "requests.jsonl", requests)
    shown = [f"{place}. Film {item}" for place, item in enumerate(["12", "13", "14"], start=1)]
    below = {"links": {str(place): [f"Like {key}"] for place, key in enumerate(shown, start=1)}}
    alone = {key: [f"Like {key}"] for key in (shown[0], "Film 13", shown[2])}
    answers = [{**made["one"], "answer": json.dumps(lists)} for lists in (below, alone)]
    _write_lines(out / "answers.jsonl", answers)

    result = forget(scenario, [], [ITEM], paths=[out])

    assert _group_prompts(folder).keys() == {"two"}
    assert any(task["command"].startswith("python -m preprocessing prompts")
               for task in result["to_do"])  # fmt: skip
    assert [*map(json.loads, (out / "requests.jsonl").open())] == requests[1:]
    with AnswerStore(out / "answer_store.sqlite", PARAMETERS) as store:
        assert store.answers(hashes).keys() == {hashes[1]}
    kept = [*map(json.loads, (out / "answers.jsonl").open())]
    stay = ["13", "14"]
    assert [record["members"] for record in kept] == [stay, stay]
    assert [json.loads(record["answer"]) for record in kept] == [
        {"links": {"1": ["Like 2. Film 13"], "2": ["Like 3. Film 14"]}},
        {"1": ["Like Film 13"], "2": ["Like 3. Film 14"]},
    ]
    # Another item leaves before somebody makes the prompts.
    forget(scenario, [], [ITEMS[0]], paths=[out])
    assert not build_prompts(scenario, sources=["links"])["skipped"]
    again = _group_prompts(folder)
    assert again["one"]["members"] == stay and again["two"] == made["two"]
    assert '"Film 12 (' not in again["one"]["prompt"]


def _group_prompts(folder: Path) -> dict[str, dict]:
    prompts = map(json.loads, (folder / "work/prompts/prompts.jsonl").open(encoding="utf-8"))
    return {p["entity_id"]: p for p in prompts if p["extraction"] == "collective"}


def test_dead_letters_quote_nothing_that_answers_about_them_said(folder):
    records = [*map(json.loads, gzip.open(folder / "links.jsonl.gz", "rt"))]
    for record in records:
        names = json.loads(record["answer"])["links"][:2]
        told = {ITEM: "A Quiet Film", "13": "Another Film"}.get(record["entity_id"], "No Film")
        record["answer"] = json.dumps({"links": [*names, told, told]})
    _write_lines(folder / "links.jsonl.gz", records)
    scenario = _scenario(folder)
    link(scenario)
    letters = folder / "work/links/links/dead_letters.jsonl"
    before = [*map(json.loads, letters.open())]
    assert {"'A Quiet Film'", "'Another Film'"} < {letter["detail"] for letter in before}

    forget(scenario, [], [ITEM])

    assert [*map(json.loads, letters.open())] == [
        letter | {"detail": "'[forgotten]'"} if letter["detail"] == "'A Quiet Film'" else letter
        for letter in before
    ]
    assert link(scenario)["skipped"]


def test_what_a_killed_process_left_in_the_cache_goes(folder):
    leftover = folder / CACHE / f"0000-ffff-0123456789abcdef.parquet.{'0' * 32}.partial"
    leftover.write_bytes(b"half")
    forget(_scenario(folder), [USER], dry_run=True)
    assert leftover.exists()
    forget(_scenario(folder), [USER])
    assert not leftover.exists()


LEAVING = Leaving(
    frozenset({"7", "15"}), frozenset({"9"}), {"user": "user", "films": "item"}, {},
    *[frozenset[str]()] * 5,
)  # fmt: skip


def _edited(path: Path) -> bytes:
    """What a file holds after an edit; itself if nothing was to be removed."""
    target = path.with_name("edited")
    editor_of(path)(path, target, LEAVING)
    return _content(target if target.exists() else path)


@pytest.mark.parametrize(
    ("name", "data", "kept"),
    [
        ("bom.csv", "\ufeffuser_id,group_id\n7,a\n8,a\n", "\ufeffuser_id,group_id\n8,a\n"),
        ("quoted.csv", '\ufeff"user_id",group_id\n7,a\n', '\ufeff"user_id",group_id\n'),
        ("decimals.csv", "user_id,group_id\n7.0,a\n70.0,a\n", "user_id,group_id\n70.0,a\n"),
        ("lines.jsonl", '{"user_id": 7.0}\n{"user_id": "7"}\n{"user_id": 8}\n',
         '{"user_id": 8}\n'),
        ("long.csv", f"user_id,text\n7,{'x' * 140_000}\n8,y\n", "user_id,text\n8,y\n"),
        ("odd.jsonl", '{"custom_id": ["x"]}\n{"source": {}, "entity_id": [7]}\n' + "[" * 9999,
         '{"custom_id": ["x"]}\n{"source": {}, "entity_id": [7]}\n' + "[" * 9999),
        ("whole.jsonl", '{"source": "user", "entity_id": 7}\n', ""),
    ],
)  # fmt: skip
def test_ids_are_found_as_the_readers_of_tables_find_them(tmp_path, name, data, kept):
    (tmp_path / name).write_text(data, encoding="utf-8")
    assert _edited(tmp_path / name).decode() == kept


@pytest.mark.parametrize("ids", [["7", "8"], [7, 8], [7.0, 8.0], [None, "8"]])
def test_answers_in_parquet_are_found_whatever_the_type_of_their_ids(tmp_path, ids):
    path = tmp_path / "answers.parquet"
    answers = [_answer("user", entity_id, "fine") for entity_id in ids]
    pq.write_table(pa.Table.from_pylist(answers), path)
    editor_of(path)(path, tmp_path / "edited", LEAVING)
    if ids[0] is None:
        assert not (tmp_path / "edited").exists()
    else:
        assert pq.read_table(tmp_path / "edited").to_pylist() == answers[1:]


def test_dead_letters_lose_the_ids_that_they_quote_and_nothing_else(tmp_path):
    path = tmp_path / "user" / "dead_letters.jsonl"
    path.parent.mkdir()
    letters = [
        ("unparsable_rating", "column 'rating': '15'"), ("duplicate_entity", "'15'"),
        ("duplicate_entity", "same entity as line 15"), ("member_left_out", "'9'"),
        ("member_left_out", "'7'"), ("unknown_member", "'15'"),
    ]  # fmt: skip
    _write_lines(path, [{"reason": reason, "detail": detail} for reason, detail in letters])
    details = [json.loads(line)["detail"] for line in _edited(path).splitlines()]
    assert details == [letters[0][1], "'[forgotten]'", letters[2][1], "'[forgotten]'", "'7'",
                       "'15'"]  # fmt: skip


def test_what_is_not_looked_into_is_said(folder):
    columns = {"user_id": [7.0, 8.0], "item_id": [["9"], ["10"]], "score": [0.5, 0.25]}
    odd = folder / "work/odd.parquet"
    pq.write_table(pa.table(columns), odd)
    scenario = load_scenario(
        folder / "tiny.yaml", ["data.profiles.path=[users.csv, 'gs://bucket/users.csv']"]
    )
    result = forget(scenario, [USER], dry_run=True)
    told = {(entry["what"], entry["file"], entry["rows"]) for entry in result["still_there"]}
    assert told >= {
        ("data.profiles", "gs://bucket/users.csv", 0),
        ("data.profiles", "users.csv", 1),
        ("column 'user_id'", str(odd), 0),
        ("column 'item_id'", str(odd), 0),
    }
    assert str(odd) not in result["files"]


def test_a_file_that_is_asked_for_and_cannot_be_edited_is_told(folder):
    files = {
        "users.json": f'{{"{USER}": "likes horror"}}',
        "scores.tsv": f"user_id\tscore\n{USER}\t1\n",
        "scores.csv": f"user_id;score\n{USER};1\n",
        "fine.csv": f'"user_id",score\n{USER},1\n',
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    result = forget(_scenario(folder), [USER], paths=[Path(name) for name in files], dry_run=True)
    told = {entry["file"] for entry in result["still_there"] if entry["what"] == "--path"}
    assert told == {"users.json", "scores.tsv", "scores.csv"}
    assert result["files"][str(folder / "fine.csv")] == {"rows": 1}


def test_ids_of_a_file_are_read_as_they_are_and_one_that_is_nowhere_is_told(folder, capsys):
    (folder / "ids.txt").write_text(f"\ufeff{USER}\r\n\n no\u2028body \n", encoding="utf-8")
    ids = read_ids(folder / "ids.txt")
    assert ids == [USER, "no\u2028body"]
    forget(_scenario(folder), ids, dry_run=True)
    assert "warning: 1 of 2 user ids is in no table of the scenario" in capsys.readouterr().err


def test_what_is_still_there_is_told_by_its_role(folder, capsys):
    forget(_scenario(folder), [USER], [ITEM], dry_run=True)
    lines = capsys.readouterr().err.splitlines()
    told = {line.partition("): ")[0] for line in lines if line.startswith("still there: ")}
    assert told >= {
        "still there: ratings.csv (data.interactions (users)",
        "still there: ratings.csv (data.interactions (items)",
    }


def test_ids_that_are_nowhere_leave_nothing_to_do(folder, capsys):
    scenario = _scenario(folder)
    assert forget(scenario, ["u-99"], ["none"])["to_do"] == []
    assert "to do" not in capsys.readouterr().err
    assert forget(scenario, ["u-99"], [ITEM], dry_run=True)["to_do"]
    # Profiles at a URL are not looked into, so nobody knows.
    overrides = ["data.profiles.path=[users.csv, 'gs://bucket/users.csv']"]
    elsewhere = load_scenario(folder / "tiny.yaml", overrides)
    assert forget(elsewhere, ["u-98"], dry_run=True)["to_do"]
    forget(scenario, [USER])
    assert forget(scenario, [USER])["to_do"]


def test_a_damaged_file_is_named(folder):
    path = folder / "work/cut.parquet"
    path.write_bytes((folder / "item_answers.parquet").read_bytes()[:-9])
    with pytest.raises(CommandError, match="work/cut.parquet: .*move it away"):
        forget(_scenario(folder), [USER], dry_run=True)


@pytest.mark.parametrize("name", ["salt", "users", "items", "sha256"])
def test_a_wrong_digit_in_the_list_of_forgotten_ids_is_noticed(tmp_path, name):
    Forgotten("7f" * 32).with_ids(["1"], ["2"]).write(tmp_path)
    path = tmp_path / "forgotten.json"
    contents = json.loads(path.read_text())
    digits = contents[name] if isinstance(contents[name], str) else contents[name][0]
    changed = digits[:5] + ("1" if digits[5] == "0" else "0") + digits[6:]
    path.write_text(path.read_text().replace(digits, changed))
    with pytest.raises(DamagedRecords, match="forgotten.json: .*checksum is wrong.*backup"):
        Forgotten.of(tmp_path)
    del contents["sha256"]  # as older versions wrote it
    path.write_text(json.dumps(contents))
    assert Forgotten.of(tmp_path).has("user", "1")


def test_a_work_directory_that_is_a_file_is_named(tmp_path):
    path = tmp_path / "notes.yaml"
    path.write_text("x")
    for work_dir in (path, path / "work"):
        with pytest.raises(ConfigurationError, match="work_dir: '.*notes.yaml' is a file"):
            Forgotten.of(work_dir)


def test_a_source_that_the_scenario_does_not_describe_any_more_is_told(folder):
    shutil.copytree(folder / "work/knowledge/item", folder / "work/knowledge/old")
    result = forget(_scenario(folder), items=[ITEM], dry_run=True)
    told = {(entry["what"], Path(entry["file"]).name) for entry in result["still_there"]}
    assert ("a source that the scenario does not describe", "old") in told
    assert not {"item", "user", "links"} & {name for _, name in told}


def test_a_manifest_that_is_not_the_steps_is_named(folder):
    path = folder / "work/knowledge/item/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"step": "encode nobody"}))
    forget(_scenario(folder), items=[ITEM])
    assert json.loads(path.read_text())["coverage"] is None
    path.write_text(json.dumps(manifest | {"counts": {}}))
    with pytest.raises(DamagedRecords, match="item/manifest.json: not the manifest .* --force"):
        forget(_scenario(folder), users=[USER], items=[ITEMS[0]])


def test_a_journal_goes_on_after_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "journal.jsonl"
    forgetting._Journal(path, ["a"]).begin(LEAVING)
    with path.open("a") as file:
        file.write('{"file": "cut of')
    forgetting._Journal(path, ["a"]).note({"file": "next"})
    assert forgetting._Journal(path, ["a"]).entries == {"next": {"file": "next"}}
