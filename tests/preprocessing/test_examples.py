from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from configs.command_line import CommandError, RejectedInput
from configs.loading import ConfigurationError
from preprocessing.examples import build_examples
from preprocessing.prompting.step import build_prompts
from preprocessing.records.item_tables import read_item_attributes, read_vocabulary
from preprocessing.records.layout import WorkDirectory, examples_settings
from tests.example_records import examples_in
from tests.killing import checksums
from tests.preprocessing.small_data import bucket_of, user_answer, user_source, write_lines

# The interactions of small_data, put in order by hand: time, then item as a number.
ORDERED = {
    "ann": [
        ("7", 4.5, 10), ("9", 3.5, 11), ("10", 4.0, 12), ("100", 2.0, 13), ("5", 5.0, 14),
        ("7", 1.0, 14), ("12", 4.0, 15), ("11", 0.5, 16), ("9", 4.0, 17), ("3", 3.0, 18),
        ("8", 2.0, 19), ("10", 5.0, 20),
    ],
    "bob": [("100", 5.0, 90), ("9", 2.5, 100), ("10", 4.0, 100), ("10", 3.0, 300)],
    "eve": [("9", 1.0, 50)],
}  # fmt: skip


# cap 2: ann 12 -> k 2, 10 samples: 8 train, 1 validation, 1 test. bob 4 -> k 2, 2 samples, both
# train (0.8 * 2 = 1.6 -> 2). eve 1 -> k 1, none.
PART_OF = {
    **{("ann", position): "train" for position in range(2, 10)},
    ("ann", 10): "validation",
    ("ann", 11): "test",
    ("bob", 2): "train",
    ("bob", 3): "train",
}


def expected_record(user: str, position: int) -> dict[str, list]:
    before = ORDERED[user][:position]
    item, rating, timestamp = ORDERED[user][position]
    liked = sum(1 for _, earlier, _ in before if earlier >= 4.0)
    history = before[-3:]
    return {
        "user_id": [user.encode()],
        "item_id": [item.encode()],
        "label": [1.0 if rating >= 4.0 else 0.0],
        "rating": [rating],
        "history_item_id": [entry[0].encode() for entry in history],
        "history_rating": [entry[1] for entry in history],
        "user_share_liked": [liked / position],
        "user_mean_rating": [sum(entry[1] for entry in before) / position],
        "user_log_count": [math.log(1 + position)],
        "timestamp": [timestamp],
        "position": [position],
        "user_fold": [bucket_of(user, "fold", 10)],
    }


def read_part(work_dir: str, part: str) -> dict[tuple[str, int], dict[str, list]]:
    records = examples_in(WorkDirectory(work_dir).examples.shards(part))
    return {(record["user_id"][0].decode(), record["position"][0]): record for record in records}


@pytest.fixture(scope="module")
def built(shared_scenario) -> dict:
    """The examples of `shared_scenario` and what the step said of them."""
    return build_examples(shared_scenario)


def test_every_record_is_as_recomputed_by_hand(shared_scenario, built):
    for part in ("train", "validation", "test"):
        records = read_part(shared_scenario.work_dir, part)
        assert set(records) == {key for key, value in PART_OF.items() if value == part}
        for (user, position), record in records.items():
            expected = expected_record(user, position)
            assert set(record) == set(expected)
            for name, values in expected.items():
                stored = [
                    np.float32(value) if isinstance(value, float) else value for value in values
                ]
                assert record[name] == stored, (user, position, name)
    assert built["records_in"] == 18
    assert built["records_out"] == 12 + 5
    assert built["samples"] == 12
    assert built["history_only"] == 5
    assert built["dead_letters"] == 1
    assert built["parts"] == {"train": 10, "validation": 1, "test": 1}
    assert built["leak_violations"] == 0
    assert built["leak_check"] == {
        "users_verified_by_prompt": 0,
        "users_by_rule_only": 3,
        "unresolved_answers": {},
        "declared_sources": {},
        "unverified_sources": ["item"],
    }


def test_item_attributes_and_vocabularies_cover_training_interactions_only(shared_scenario, built):
    directory = WorkDirectory(shared_scenario.work_dir).examples
    items = read_item_attributes(directory.item_attributes)
    assert items.item_ids == ["10", "100", "11", "12", "200", "3", "5", "7", "8", "9"]
    row = {item: number for number, item in enumerate(items.item_ids)}
    assert items.titles[row["9"]] == "Nine, the film"
    assert items.titles[row["12"]] == ""
    assert items.categorical["genres"][row["10"]] == ["Drama", "Comedy"]
    assert items.categorical["genres"][row["200"]] == ["Comedy", "Drama"]
    assert items.categorical["genres"][row["7"]] == ["(no genres listed)"]
    assert items.categorical["genres"][row["100"]] == []
    assert items.numeric["year"][row["200"]] == 2001.5
    assert math.isnan(items.numeric["year"][row["7"]])
    assert built["catalogue"]["unreadable_numbers"] == {"year": 1}

    training = {"ann": 10, "bob": 4, "eve": 1}  # interactions before the first validation sample
    sums: dict[str, list[float]] = {item: [0.0] * 10 for item in items.item_ids}
    counts: dict[str, list[int]] = {item: [0] * 10 for item in items.item_ids}
    for user, number in training.items():
        for item, rating, _ in ORDERED[user][:number]:
            sums[item][bucket_of(user, "fold", 10)] += rating
            counts[item][bucket_of(user, "fold", 10)] += 1
    assert items.rating_sum_by_fold.tolist() == [sums[item] for item in items.item_ids]
    assert items.rating_count_by_fold.tolist() == [counts[item] for item in items.item_ids]
    assert items.rating_sum.tolist() == [sum(sums[item]) for item in items.item_ids]
    assert items.rating_count.tolist() == [sum(counts[item]) for item in items.item_ids]

    assert read_vocabulary(directory.vocabulary("user_id")) == ["ann", "bob", "eve"]
    # 9: ann 2, bob, eve; 10: ann, bob 2; 100 and 7 twice, others once; 8 only in validation.
    assert read_vocabulary(directory.vocabulary("item_id")) == [
        "9", "10", "100", "7", "11", "12", "3", "5",
    ]  # fmt: skip
    assert read_vocabulary(directory.vocabulary("genres")) == [
        "Drama", "Comedy", "(no genres listed)",
    ]  # fmt: skip


def test_item_ids_that_are_no_numbers_break_ties_as_text(small_scenario, small_folder):
    (small_folder / "interactions.csv").write_text(
        "user_id,item_id,rating,timestamp\nu,9,1,5\nu,10,2,5\nu,x,3,5\nu,1,4,1\n", encoding="utf-8"
    )
    scenario = small_scenario(split__knowledge_history_cap=0)
    build_examples(scenario)
    records = {}
    for part in ("train", "validation", "test"):
        records |= read_part(scenario.work_dir, part)
    assert [records["u", position]["item_id"] for position in range(4)] == [
        [b"1"], [b"10"], [b"9"], [b"x"],
    ]  # fmt: skip
    assert records["u", 0]["history_item_id"] == []
    assert records["u", 0]["user_share_liked"] == [0.0]
    assert records["u", 0]["user_mean_rating"] == [0.0]
    assert records["u", 0]["user_log_count"] == [0.0]


def test_split_by_user_keeps_every_user_in_one_part(small_scenario, small_folder):
    lines = [f"user{user},{item},4,{item}" for user in range(200) for item in range(7, 11)]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *lines]), encoding="utf-8"
    )
    scenario = small_scenario(split__by="user", split__seed=5)
    result = build_examples(scenario)

    def expected_part(user: str) -> str:
        digest = hashlib.blake2b(user.encode(), digest_size=8, key=b"split 5").digest()
        drawn = (int.from_bytes(digest, "little") >> 11) / 2**53
        return "train" if drawn < 0.8 else "validation" if drawn < 0.9 else "test"

    for part in ("train", "validation", "test"):
        users = {user for user, _ in read_part(scenario.work_dir, part)}
        assert users == {
            f"user{user}" for user in range(200) if expected_part(f"user{user}") == part
        }
        assert result["parts"][part] == 2 * len(users) > 0
    training_users = read_vocabulary(
        WorkDirectory(scenario.work_dir).examples.vocabulary("user_id")
    )
    assert set(training_users) == {
        f"user{user}" for user in range(200) if expected_part(f"user{user}") == "train"
    }
    assert result["training_interactions"] == 4 * len(training_users)


def test_training_is_shuffled_and_other_parts_are_in_order(small_scenario, small_folder):
    lines = [f"u{user:02},{item},4,{item}" for user in range(9) for item in range(60)]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *lines]), encoding="utf-8"
    )
    scenario = small_scenario()
    build_examples(scenario)
    directory = WorkDirectory(scenario.work_dir).examples
    for part in ("train", "test"):
        for path in directory.shards(part):
            order = []
            for serialized in tf.data.TFRecordDataset(str(path), compression_type="GZIP"):
                feature = tf.train.Example.FromString(serialized.numpy()).features.feature
                order.append(
                    (
                        feature["user_id"].bytes_list.value[0],
                        feature["position"].int64_list.value[0],
                    )
                )
            assert len(order) > 5
            assert (order == sorted(order)) == (part == "test")


def test_an_empty_catalogue_gives_empty_attributes(small_scenario, small_folder):
    (small_folder / "catalogue.csv").write_text("item_id,title,genres,year\n")
    scenario = small_scenario()
    assert build_examples(scenario)["samples"] == 12
    directory = WorkDirectory(scenario.work_dir).examples
    assert read_vocabulary(directory.vocabulary("genres")) == []
    assert set(read_item_attributes(directory.item_attributes).titles) == {""}


def test_a_parquet_catalogue_without_a_row_names_no_item_of_a_prompt(small_scenario, small_folder):
    columns = {name: pa.array([], pa.string()) for name in ("item_id", "title", "genres", "year")}
    pq.write_table(pa.table(columns), small_folder / "empty.parquet")
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 1)])
    scenario = small_scenario(
        data__catalogue__path=str(small_folder / "empty.parquet"),
        knowledge__answers__user=user_source(small_folder, " stars;"),
    )
    assert build_examples(scenario)["samples"] == 12


def test_two_runs_write_the_same_bytes(small_scenario, small_folder):
    written = []
    for name in ("one", "two"):
        scenario = small_scenario(work_dir=str(small_folder / name))
        build_examples(scenario)
        written.append(checksums(WorkDirectory(scenario.work_dir).examples.path))
    assert len(written[0]) == 13
    assert written[0] == written[1]


def test_the_manifest_describes_the_result(shared_scenario, built):
    directory = WorkDirectory(shared_scenario.work_dir).examples
    manifest = json.loads(directory.manifest.read_text())
    interactions = Path(shared_scenario.data.interactions.path)
    assert (
        manifest["inputs"][str(interactions)]
        == hashlib.sha256(interactions.read_bytes()).hexdigest()
    )
    for name, described in manifest["files"].items():
        content = (directory.path / name).read_bytes()
        assert described == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert sum(shard["samples"]["train"] for shard in manifest["shards"]) == 10
    assert manifest["settings"] == examples_settings(shared_scenario)
    assert manifest["settings"]["data.history_length"] == 3
    assert set(manifest["libraries"]) == {"apache-beam", "numpy", "pyarrow"}
    assert "filter" not in manifest and "time_cuts" not in manifest
    assert manifest["schema"]["history_item_id"] == {"type": "bytes_list", "list": True}


def test_a_dry_run_shows_sizes_and_columns(small_scenario, capsys):
    scenario = small_scenario(
        data__catalogue__attributes={"made": {"kind": "numeric", "column": "year"}}
    )
    tables = build_examples(scenario, dry_run=True)["tables"]
    assert tables["data.catalogue"] == {
        "columns": ["item_id", "title", "year"],
        "other_columns": ["genres"],
    }
    assert sorted(tables["data.interactions"]["columns"]) == [
        "item_id", "rating", "timestamp", "user_id",
    ]  # fmt: skip
    shown = capsys.readouterr().err
    assert (
        f"{scenario.data.catalogue.path}: columns item_id, title, year; not read: genres" in shown
    )
    size = sum(
        os.path.getsize(data.path) for data in (scenario.data.interactions, scenario.data.catalogue)
    )
    assert f"reads 2 files, {size / 1000:.1f} kB;" in shown


def test_dry_run_writes_nothing(small_scenario):
    scenario = small_scenario()
    plan = build_examples(scenario, dry_run=True)
    assert plan["dry_run"] and not plan["would_skip"]
    assert plan["inputs"][scenario.data.interactions.path] == os.path.getsize(
        scenario.data.interactions.path
    )
    assert not Path(scenario.work_dir).exists()
    build_examples(scenario)
    assert build_examples(scenario, dry_run=True)["would_skip"]


def test_a_finished_step_is_skipped_until_something_changes(small_scenario, small_folder):
    first = build_examples(small_scenario())
    again = build_examples(small_scenario())
    assert not first["skipped"] and again["skipped"]
    unimportant = {"seconds", "skipped"}
    assert {key: first[key] for key in first.keys() - unimportant} == {
        key: again[key] for key in again.keys() - unimportant
    }

    def would_skip(force: bool = False, **changes: object) -> bool:
        return build_examples(small_scenario(**changes), force=force, dry_run=True)["would_skip"]

    assert would_skip() and would_skip(training__seed=7)
    assert not would_skip(force=True)
    assert not would_skip(data__positive_rating=3.0)
    shard = WorkDirectory(small_scenario().work_dir).examples.shards("train")[0]
    contents = shard.read_bytes()
    shard.write_bytes(b"damaged")
    assert not would_skip()
    shard.write_bytes(contents)
    assert would_skip()
    with (small_folder / "interactions.csv").open("a", encoding="utf-8") as file:
        file.write("new,1,4,1\n")
    assert not would_skip()
    assert build_examples(small_scenario())["records_in"] == 19


def test_examples_depend_on_what_prompts_show_and_on_nothing_else_of_the_answers(
    small_scenario, small_folder
):
    answers = small_folder / "users.jsonl"
    write_lines(answers, [user_answer("ann", 0, 1), user_answer("bob", 0, 1)])
    assignments = {"knowledge__answers__user": user_source(small_folder, " stars;")}

    def would_skip(**more: object) -> bool:
        scenario = small_scenario(**assignments, **more)
        return build_examples(scenario, dry_run=True)["would_skip"]

    build_examples(small_scenario(**assignments))
    manifest = json.loads(WorkDirectory(small_scenario().work_dir).examples.manifest.read_text())
    assert str(answers) not in manifest["inputs"] and set(manifest["seen_interactions"]) == {"user"}
    changed = [{**user_answer("bob", 0, 1), "answer": "likes none"}, user_answer("ann", 0, 1)]
    write_lines(answers, changed)
    assert would_skip()
    write_lines(small_folder / "more.jsonl", [{"source": "more"}])
    more = {"entity": "item", "individual": [str(small_folder / "more.jsonl")]}
    assert would_skip(knowledge__answers__more=more)
    assert not would_skip(knowledge__answers__more={"entity": "item", "vectors": ["v.npz"]})
    write_lines(answers, [*changed[:1], user_answer("ann", 0)])
    assert not would_skip()
    write_lines(answers, [*changed[:1], {**user_answer("ann", 0), "interactions_seen": 2}])
    assert not would_skip()
    assert not build_examples(small_scenario(**assignments))["skipped"] and would_skip()
    # The same number of interactions, and another one.
    write_lines(answers, [*changed[:1], {**user_answer("ann", 1), "interactions_seen": 2}])
    assert not would_skip()
    assert not build_examples(small_scenario(**assignments))["skipped"] and would_skip()
    assignments["knowledge__answers__user"]["seen"] = "training"
    assert not build_examples(small_scenario(**assignments))["skipped"]
    assert not would_skip(prompts__scenario="books")


def test_bad_rows_become_dead_letters_with_line_and_reason(small_scenario, small_folder):
    (small_folder / "interactions.csv").write_bytes(
        b"user_id,item_id,rating,timestamp\r\n"
        b"u,1,4,1\r\n"
        b",1,4,1\n"
        b"u, ,4,1\n"
        b"\n"
        b"u,2,good,1\n"
        b"u,2,NaN,1\n"
        b"u,2,1e999,1\n"
        b"u,2,4,noon\n"
        b"u,2,4,1:5\n"
        b"u,2,4\n"
        b"u,2,4,5,6\n"
        b'u,"2,4,5\n'
        b"u,\xff,4,5\n"
        b"u,1,4,1\n"
        b'"u","7",4,2'
    )
    scenario = small_scenario()
    result = build_examples(scenario)
    letters = [
        json.loads(line)
        for line in WorkDirectory(scenario.work_dir).examples.dead_letters.read_text().splitlines()
    ]
    assert [(letter["line"], letter["reason"]) for letter in letters] == [
        (3, "missing_user_id"),
        (4, "missing_item_id"),
        (6, "unparsable_rating"),
        (7, "non_finite_rating"),
        (8, "non_finite_rating"),
        (9, "unparsable_timestamp"),
        (10, "unparsable_timestamp"),
        (11, "wrong_column_count"),
        (12, "wrong_column_count"),
        (13, "malformed_quotes"),
        (14, "invalid_utf8"),
        (15, "duplicate_interaction"),
    ]
    assert letters[2]["detail"] == "column 'rating': 'good'"
    assert letters[-1]["detail"] == "same user, item and time as line 2"
    assert {letter["file"] for letter in letters} == {scenario.data.interactions.path}
    assert result["records_in"] == 14
    assert result["records_out"] == 2
    assert result["dead_letters"] == 12
    assert sum(result["rejected_by_reason"].values()) == 12


def test_bad_catalogue_rows_become_dead_letters(small_scenario, small_folder):
    with (small_folder / "catalogue.csv").open("a", encoding="utf-8") as file:
        file.write("9,Nine again,Drama,2000\n,No id,Drama,2000\n12,Short\n")
    scenario = small_scenario()
    result = build_examples(scenario)
    assert result["catalogue"]["records_in"] == 8
    assert result["catalogue"]["records_out"] == 5
    assert result["catalogue"]["rejected_by_reason"] == {
        "duplicate_item": 1,
        "missing_item_id": 1,
        "wrong_column_count": 1,
    }
    items = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    assert items.titles[items.item_ids.index("9")] == "Nine, the film"
    with pytest.raises(RejectedInput) as raised:
        build_examples(scenario, strict=True)
    assert raised.value.result["catalogue"]["dead_letters"] == 3


@pytest.mark.parametrize("minimum", [1, 2])
def test_one_file_may_be_all_three_tables(small_scenario, small_folder, minimum):
    path = str(small_folder / "log.csv")
    (small_folder / "log.csv").write_text(
        "user_id,item_id,rating,timestamp,title,job\n"
        "u,1,4,1,One,cook\n"
        "u,2,5,2,Two,cook\n"
        "v,1,bad,3,One,spy\n"
        "v,,4,4,None,spy\n"
        ",2,4,5,Two,spy\n"
        "u,1,4,1,One,cook\n"
    )
    scenario = small_scenario(
        data__interactions__path=path,
        data__catalogue={"path": path},
        data__profiles={"path": path, "attributes": {"job": {"kind": "categorical"}}},
        data__filter={"minimum_user_interactions": minimum},
    )
    result = build_examples(scenario)
    assert result["rejected_by_reason"] == {
        "duplicate_interaction": 1,
        "missing_item_id": 1,
        "missing_user_id": 1,
        "unparsable_rating": 1,
    }
    assert result["catalogue"]["rejected_by_reason"] == {"duplicate_item": 3, "missing_item_id": 1}
    assert result["profiles"]["rejected_by_reason"] == {"duplicate_user": 3, "missing_user_id": 1}
    tables = [result, result["catalogue"], result["profiles"]]
    assert [table["records_in"] for table in tables] == [6, 6, 6]
    assert [table["records_out"] for table in tables] == [2, 2, 2]
    letters = WorkDirectory(scenario.work_dir).examples.dead_letters.read_text().splitlines()
    assert len(letters) == 12


@pytest.mark.parametrize(
    ("minimum", "rows", "message"),
    [
        (1, [], "no sample is left: of 0 interactions"),
        (
            9,
            ["u,1,4,1", "u,2,4,2", "u,3,x,3"],
            "of 3 interactions 2 were filtered .*1 rejected",
        ),
        (1, ["u,1,4,1", "v,2,4,2"], "2 are history only"),
    ],
)
def test_examples_without_any_sample_fail(small_scenario, small_folder, minimum, rows, message):
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    scenario = small_scenario(data__filter={"minimum_user_interactions": minimum})
    with pytest.raises(CommandError, match=message):
        build_examples(scenario)
    assert not WorkDirectory(scenario.work_dir).examples.path.exists()


def test_a_catalogue_that_was_not_read_whole_is_warned_of(small_scenario, small_folder, capsys):
    year = {"kind": "numeric", "column": "title"}
    with (small_folder / "catalogue.csv").open("a") as file:
        file.write(",,\n")
    result = build_examples(small_scenario(data__catalogue__attributes={"year": year}))
    unreadable = result["catalogue"]["unreadable_numbers"]["year"]
    assert unreadable > 0 and result["catalogue"]["dead_letters"] == 1
    told = capsys.readouterr().err
    assert "warning: 1 of" in told and "rows of data.catalogue were rejected" in told
    assert f"data.catalogue.attributes.year: {unreadable} values of" in told


def test_parts_without_samples_or_with_one_class_are_warned_of(
    small_scenario, small_folder, capsys
):
    # bob has two samples, both train: positions 2 and 3, ratings 4 and 3.
    rows = [f"bob,{item},{rating},{item}" for item, rating in enumerate((5, 1, 4, 3), 7)]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    result = build_examples(small_scenario())
    assert result["parts"] == {"train": 2, "validation": 0, "test": 0}
    assert result["positives"] == {"train": 1, "validation": 0, "test": 0}
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert [line.split(";")[0] for line in warned] == [
        "examples: warning: data.catalogue.attributes.year: 1 values of 5 rows are no numbers, and "
        "count as missing",
        "examples: warning: part 'validation' has no samples",
        "examples: warning: part 'test' has no samples",
    ]
    build_examples(small_scenario(data__positive_rating=3.0))
    assert "all 2 samples of part 'train' have label 1" in capsys.readouterr().err
    assert build_examples(small_scenario(data__positive_rating=3.0))["skipped"]
    assert "all 2 samples of part 'train' have label 1" in capsys.readouterr().err


def test_answer_files_that_cannot_be_read_are_named(small_scenario, small_folder):
    source = user_source(small_folder, " stars;")
    key = r"knowledge\.answers\.user\.individual: there is no file '.*users\.jsonl'"
    with pytest.raises(ConfigurationError, match=key):
        build_examples(small_scenario(knowledge__answers__user=source))
    path = small_folder / "users.jsonl.gz"
    lines = "".join(json.dumps(user_answer(f"u{number}", 0, 1)) + "\n" for number in range(99))
    path.write_bytes(gzip.compress(lines.encode())[:-9])
    cut_off = {**source, "individual": [str(path)]}
    with pytest.raises(CommandError, match=r"users\.jsonl\.gz: the file is cut off"):
        build_examples(small_scenario(knowledge__answers__user=cut_off))


def test_wrong_configuration_is_explained(small_scenario, small_folder):
    with pytest.raises(ConfigurationError, match="no column 'stars'.*user_id, item_id, rating"):
        build_examples(small_scenario(data__interactions__columns__rating="stars"))
    with pytest.raises(ConfigurationError, match=r"data\.catalogue\.title: .*no column 'name'"):
        build_examples(small_scenario(data__catalogue__title="name"))
    with pytest.raises(ConfigurationError, match=r"data\.interactions\.path: there is no file"):
        build_examples(small_scenario(data__interactions__path="absent.csv"))
    with pytest.raises(ConfigurationError, match="'rating_sum' is taken"):
        build_examples(
            small_scenario(
                data__catalogue__attributes__rating_sum={"kind": "numeric", "column": "year"}
            )
        )
    with pytest.raises(ConfigurationError, match="not a regular expression"):
        build_examples(
            small_scenario(knowledge__answers__user=user_source(small_folder, "(unclosed"))
        )


def test_a_prompt_that_showed_a_sample_fails_the_step(small_scenario, small_folder):
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 3), user_answer("bob", 0, 1)])
    scenario = small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    with pytest.raises(CommandError, match="1 samples") as raised:
        build_examples(scenario)
    message = str(raised.value)
    # ann's samples start at 2; item 100 at position 3 was shown.
    assert "position 3, k_u is 2" in message and "knowledge.answers.user.seen: training" in message
    assert "ann" not in message.replace("answers", "")
    assert not WorkDirectory(scenario.work_dir).examples.path.exists()


def test_answers_made_from_the_training_part_are_declared_and_looked_up(
    small_scenario, small_folder
):
    source = {**user_source(small_folder, " stars;"), "seen": "training"}
    settings = {"knowledge__answers__user": source, "split__knowledge_history_cap": 0}
    # All but the last two of ann's twelve and the last of bob's four interactions are training.
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 3), user_answer("bob", 0, 2)])
    check = build_examples(small_scenario(**settings))["leak_check"]
    assert check["declared_sources"] == {"user": "training"}
    assert check["users_verified_by_prompt"] == 2 and check["unverified_sources"] == ["item"]
    silent = {key: text for key, text in user_answer("bob").items() if key != "prompt"}
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 3), silent])
    check = build_examples(small_scenario(**settings))["leak_check"]
    assert check["unresolved_answers"] == {"user": 1} and check["unverified_sources"] == ["item"]
    write_lines(small_folder / "users.jsonl", [user_answer("bob", 3)])
    with pytest.raises(CommandError, match="made with another split; set split.by"):
        build_examples(small_scenario(**settings))


def test_prompts_within_the_rule_verify_their_users(small_scenario, small_folder):
    write_lines(
        small_folder / "users.jsonl",
        [user_answer("ann", 0, 1), user_answer("bob", 0), user_answer("eve")],
    )
    result = build_examples(
        small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    )
    assert result["leak_violations"] == 0
    assert result["leak_check"] == {
        "users_verified_by_prompt": 2,
        "users_by_rule_only": 1,
        "unresolved_answers": {},
        "declared_sources": {},
        "unverified_sources": ["item"],
    }


def test_prompts_are_looked_up_beside_a_universe_of_items_and_time_cuts(
    small_scenario, small_folder
):
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 1), user_answer("bob", 2)])
    scenario = small_scenario(
        knowledge__answers__user=user_source(small_folder, " stars;"),
        data__negatives={"per_positive": 1},
        split__by="global_time",
    )
    with pytest.raises(CommandError, match="1 samples"):
        build_examples(scenario)


@pytest.mark.parametrize("more", [{}, {"links": {"until": 2016}}], ids=["prose", "links"])
def test_prompts_that_leave_out_items_without_title_hide_nothing(
    small_scenario, small_folder, more
):
    # One item in four has a title; twelve interactions before k_u, of which prompts show three.
    rows = [f"ann,{item},4,{item}" for item in range(24)]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    titles = [f"{item},{'' if item % 4 else f'Film {item}'},Drama,1999" for item in range(24)]
    (small_folder / "catalogue.csv").write_text(
        "\n".join(["item_id,title,genres,year", *titles]) + "\n"
    )
    made = small_scenario(
        split__knowledge_history_cap=30,
        knowledge__answers__user=user_source(small_folder, None) | more,
        prompts__scenario="movies",
    )
    out = small_folder / "prompts.jsonl"
    build_prompts(made, sources=["user"], out=out)
    (prompt,) = [json.loads(line) for line in out.read_text().splitlines()]
    answer = {**prompt, "answer": "likes drama"}
    assert answer["interactions_seen"] == 12

    def check(answer: dict[str, object], cap: int) -> dict[str, object]:
        write_lines(small_folder / "users.jsonl", [answer])
        source = user_source(small_folder, '" [0-9.]+ stars[;.]') | more
        assignments = {"split__knowledge_history_cap": cap, "knowledge__answers__user": source}
        return build_examples(small_scenario(**assignments))["leak_check"]

    assert check(answer, 30)["unverified_sources"] == ["item"]
    with pytest.raises(CommandError, match="(?s)7 samples.*set it to 12"):
        check(answer, 5)
    silent = {name: value for name, value in answer.items() if name != "interactions_seen"}
    assert check(silent, 30)["unverified_sources"] == ["item"]
    with pytest.raises(CommandError, match="(?s)1 samples.*position 8, k_u is 5"):
        check(silent, 5)  # items 0, 4 and 8 are shown


def test_user_answers_without_prompts_are_unverified(small_scenario, small_folder):
    silent = {key: text for key, text in user_answer("bob", 0).items() if key != "prompt"}
    scenario = small_scenario(knowledge__answers__user=user_source(small_folder, " stars;"))
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 1), silent])
    check = build_examples(scenario)["leak_check"]
    assert check == {
        "users_verified_by_prompt": 1,
        "users_by_rule_only": 2,
        "unresolved_answers": {"user": 1},
        "declared_sources": {},
        "unverified_sources": ["item", "user"],
    }
    # A rejected answer is not used, whatever is unknown about it.
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 1), {**silent, "answer": ""}])
    assert build_examples(scenario)["leak_check"]["unverified_sources"] == ["item"]


def test_user_answers_without_a_pattern_are_unverified(small_scenario, small_folder):
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 3)])
    result = build_examples(
        small_scenario(knowledge__answers__user=user_source(small_folder, None))
    )
    assert result["leak_check"]["unverified_sources"] == ["item", "user"]
    assert result["leak_check"]["users_by_rule_only"] == 3
