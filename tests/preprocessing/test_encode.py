from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from configs.command_line import CommandError
from preprocessing.encode import encode
from preprocessing.knowledge import building
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.small_data import ANSWERS, GROUP_ANSWERS, bucket_of, write_lines


@pytest.fixture(scope="module")
def encoded(shared_scenario) -> dict:
    """The knowledge of `shared_scenario` and what the step said of it."""
    return encode(shared_scenario)


def test_records_are_those_of_an_independent_computation(shared_scenario, encoded):
    # The encoder is fitted on the answers shard by shard, sorted by extraction and id.
    answers = sorted(
        ANSWERS + GROUP_ANSWERS,
        key=lambda answer: (
            bucket_of(answer["entity_id"], "knowledge", 2),
            answer["extraction"],
            answer["entity_id"],
        ),
    )  # fmt: skip
    texts = [answer["answer"] for answer in answers]
    weights = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    vectors = TruncatedSVD(3, random_state=0).fit(weights).transform(weights)
    vector_of = {
        answer["entity_id"]: vector.astype(np.float16).astype(np.float32)
        for answer, vector in zip(answers, vectors, strict=True)
    }
    expected = {
        "10": (vector_of["10"], b"individual", b"g1"),
        "9": (vector_of["9"], b"individual", b""),
        "7": (vector_of["7"], b"individual", b""),
        "100": (vector_of["g1"], b"collective", b"g1"),
        "5": (vector_of["g1"], b"collective", b"g1"),
    }
    actual = {}
    for number, path in enumerate(WorkDirectory(shared_scenario.work_dir).knowledge("item").shards):
        ids = []
        for serialized in tf.data.TFRecordDataset(str(path), compression_type="GZIP"):
            feature = tf.train.Example.FromString(serialized.numpy()).features.feature
            entity = feature["entity_id"].bytes_list.value[0].decode()
            ids.append(entity)
            assert bucket_of(entity, "knowledge", 2) == number
            actual[entity] = (
                np.array(feature["vector"].float_list.value, np.float32),
                feature["extraction"].bytes_list.value[0],
                feature["group_id"].bytes_list.value[0],
            )
        assert ids == sorted(ids)
    assert actual.keys() == expected.keys()
    for entity, (vector, extraction, group) in expected.items():
        np.testing.assert_allclose(actual[entity][0], vector, atol=2e-3)
        assert actual[entity][1:] == (extraction, group)
        assert (actual[entity][0] == actual[entity][0].astype(np.float16)).all()
    item = encoded["sources"]["item"]
    assert (encoded["records_in"], encoded["records_out"], encoded["dead_letters"]) == (5, 5, 0)
    assert item["individual_entities"] == 3 and item["collective_entities"] == 2
    assert item["entities_without_answer"] == 1  # 200 belongs to g2, which has no answer
    assert item["unused_group_answers"] == 1  # nobody belongs to g9
    assert item["groups"]["records_in"] == 4


def test_the_reader_gives_what_was_written(shared_scenario, encoded):
    knowledge = read_knowledge(shared_scenario.work_dir, "item")
    assert knowledge.entity_ids == ["10", "100", "5", "7", "9"]
    assert knowledge.extraction == [
        "individual", "collective", "collective", "individual", "individual",
    ]  # fmt: skip
    assert knowledge.group_ids == ["g1", "g1", "g1", "", ""]
    assert knowledge.vectors.shape == (5, 3) and knowledge.vectors.dtype == np.float32
    np.testing.assert_array_equal(knowledge.vectors[1], knowledge.vectors[2])


def test_two_runs_write_the_same_bytes_whatever_the_order_of_lines(small_scenario, small_folder):
    contents = []
    for name in ("one", "two"):
        scenario = small_scenario(work_dir=str(small_folder / name), knowledge__shards=3)
        encode(scenario)
        folder = WorkDirectory(scenario.work_dir).knowledge("item").path
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == [
        "dead_letters.jsonl",
        "manifest.json",
        *(f"part-0000{shard}-of-00003.tfrecord.gz" for shard in range(3)),
        "statistics.npz",
        "tfidf_arrays.npz",
        "tfidf_terms.json",
    ]
    write_lines(small_folder / "answers.jsonl", ANSWERS[::-1])
    scenario = small_scenario(work_dir=str(small_folder / "three"), knowledge__shards=3)
    encode(scenario)
    for path in WorkDirectory(scenario.work_dir).knowledge("item").shards:
        assert path.read_bytes() == contents[0][path.name]


def test_the_manifest_keeps_the_settings(shared_scenario, encoded):
    directory = WorkDirectory(shared_scenario.work_dir).knowledge("item")
    assert json.loads(directory.manifest.read_text())["settings"] == {
        "knowledge.encoder.kind": "tfidf",
        "knowledge.encoder.batch_size": 8,
        "knowledge.encoder.maximum_tokens": 256,
        "knowledge.encoder.long_texts": "cut",
        "knowledge.encoder.text": "answer",
        "knowledge.encoder.pooling": "mean",
        "knowledge.encoder.dimension": 3,
        "knowledge.encoder.seed": 0,
        "knowledge.encoder.model": None,
        "knowledge.encoder.base_url": None,
        "knowledge.answers.item.entity": "item",
        "knowledge.answers.item.individual": "1 file",
        "knowledge.answers.item.collective": "1 file",
        "knowledge.answers.item.vectors": "no file",
        "knowledge.answers.item.metadata": [],
        "knowledge.answers.item.random": None,
        "knowledge.answers.item.collaborative": None,
        "knowledge.answers.item.groups": "1 file",
        "knowledge.answers.item.grouping": None,
        "knowledge.answers.item.factor": None,
        "knowledge.answers.item.factors": [],
        "knowledge.answers.item.history_entry_pattern": None,
        "knowledge.answers.item.groups_verified": False,
        "knowledge.answers.item.seen": "first_interactions",
    }


def test_the_progress_line_shows_width_and_norm(small_scenario, capsys):
    scenario = small_scenario()
    encode(scenario)
    norms = np.linalg.norm(read_knowledge(scenario.work_dir, "item").vectors, axis=1)
    described = f"5 vectors of width 3, median norm {np.median(norms):.3g}"
    assert f"encode item: 5 answers, 0 rejected -> {described} (3 individual" in (
        capsys.readouterr().err
    )
    encode(scenario)
    assert f"encode item: unchanged, skipped ({described})" in capsys.readouterr().err


def log_counts(folder) -> tuple[int, int]:
    """Rows of the log, and those whose item is one of the five that have a vector."""
    rows = [line.split(",") for line in (folder / "interactions.csv").read_text().splitlines()[1:]]
    return len(rows), sum(row[1] in {"10", "9", "7", "100", "5"} for row in rows)


def test_the_share_of_the_log_that_has_a_vector_is_counted(small_scenario, small_folder, capsys):
    scenario = small_scenario()
    coverage = encode(scenario)["sources"]["item"]["coverage"]
    rows, covered = log_counts(small_folder)
    assert coverage == {
        "entity": "item",
        "ids": 9,
        "covered_ids": 5,
        "share_of_ids": round(5 / 9, 6),
        "interactions": rows,
        "covered_interactions": covered,
        "share_of_interactions": round(covered / rows, 6),
    }
    manifest = json.loads(WorkDirectory(scenario.work_dir).knowledge("item").manifest.read_text())
    assert manifest["coverage"].items() >= coverage.items()
    assert "encode item: 55.6% of the log's 9 items" in capsys.readouterr().err
    again = encode(small_scenario(data__warn_coverage_below=0.99))
    assert again["skipped"] and again["sources"]["item"]["coverage"] == coverage
    assert "encode item: warning: " in capsys.readouterr().err


def test_answers_about_other_ids_fail_until_the_log_has_them(small_scenario, small_folder):
    foreign = [{**answer, "entity_id": f"film-{answer['entity_id']}"} for answer in ANSWERS]
    write_lines(small_folder / "answers.jsonl", foreign)
    individual = {"entity": "item", "individual": [str(small_folder / "answers.jsonl")]}
    scenario = small_scenario(knowledge__answers__item=individual)
    with pytest.raises(CommandError) as error:
        encode(scenario)
    message = str(error.value)
    for part in ("interactions.csv", "answers.jsonl", "'3'", "'film-7'", "import --ids FILE"):
        assert part in message
    assert error.value.result["sources"]["item"]["coverage"]["covered_ids"] == 0
    # The vectors are kept: they are not encoded again when the log is the one to be put right.
    log = small_folder / "interactions.csv"
    log.write_text(log.read_text().replace(",7,", ",film-7,"))
    result = encode(scenario)
    assert result["skipped"] and result["sources"]["item"]["coverage"]["covered_ids"] == 1


def test_without_a_log_nothing_is_compared(small_scenario, small_folder, capsys):
    (small_folder / "interactions.csv").unlink()
    assert encode(small_scenario())["sources"]["item"]["coverage"] is None
    assert "not compared with the ids of the log" in capsys.readouterr().err


def test_a_finished_source_is_skipped_until_something_changes(small_scenario, small_folder):
    assert not encode(small_scenario())["skipped"]
    assert encode(small_scenario())["skipped"]

    def would_skip(force: bool = False, **changes: object) -> bool:
        plan = encode(small_scenario(**changes), force=force, dry_run=True)
        (source,) = plan["sources"]
        return source["would_skip"]

    assert would_skip() and would_skip(split__seed=4)
    assert not would_skip(force=True)
    assert not would_skip(knowledge__encoder__seed=4)
    write_lines(small_folder / "answers.jsonl", ANSWERS[:2])
    assert not would_skip()
    assert not encode(small_scenario())["skipped"]


def test_an_interrupted_run_leaves_the_old_result(small_scenario, monkeypatch):
    scenario = small_scenario()
    encode(scenario)
    directory = WorkDirectory(scenario.work_dir).knowledge("item")
    before = directory.manifest.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(building, "merge_runs", fail)
        with pytest.raises(OSError, match="disk full"):
            encode(scenario, force=True)
    assert os.listdir(directory.path.parent) == ["item"]
    assert directory.manifest.read_bytes() == before


def test_dry_run_writes_nothing(small_scenario):
    scenario = small_scenario()
    plan = encode(scenario, dry_run=True)
    assert [source["would_skip"] for source in plan["sources"]] == [False]
    assert not Path(scenario.work_dir).exists()
