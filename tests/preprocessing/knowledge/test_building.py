"""The folder of one source, built through the step `encode` from every kind of input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.beam_options import BeamOptions
from preprocessing.dead_letters import dead_letter
from preprocessing.encode import encode
from preprocessing.grouping.step import make_groups
from preprocessing.knowledge.building import no_usable_answer
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing import shared_file_system
from tests.preprocessing.encoders.embeddings_server import (
    EmbeddingsCall,
    embeddings,
    embeddings_server,
    vector_of,
)
from tests.preprocessing.generation.chat_server import failure
from tests.preprocessing.small_data import ANSWERS, GROUP_ANSWERS, letters_of, write_lines


def manifest_of(scenario, source: str = "item") -> dict:
    return json.loads(WorkDirectory(scenario.work_dir).knowledge(source).manifest.read_text())


def vectors_by_id(scenario, source: str = "item") -> dict[str, np.ndarray]:
    knowledge = read_knowledge(scenario.work_dir, source)
    return dict(zip(knowledge.entity_ids, knowledge.vectors, strict=True))


def at(server, **more: object) -> dict[str, object]:
    described = {"kind": "endpoint", "model": "toy", "base_url": server.url, "batch_size": 2}
    return {"knowledge__encoder": {**described, **more}}


def rounded(text: str) -> np.ndarray:
    return vector_of(text).astype(np.float16)


def test_every_answer_of_an_endpoint_is_paid_once(small_scenario, small_folder):
    with embeddings_server() as server:
        scenario = small_scenario(**at(server))
        result = encode(scenario)
        assert (result["texts_encoded"], result["texts_from_cache"], result["tokens"]) == (5, 0, 15)
        actual = vectors_by_id(scenario)
        for answer in ANSWERS:
            np.testing.assert_array_equal(actual[answer["entity_id"]], rounded(answer["answer"]))
        np.testing.assert_array_equal(actual["100"], rounded(GROUP_ANSWERS[0]["answer"]))
        folder = WorkDirectory(scenario.work_dir).knowledge("item").path
        before = {path.name: path.read_bytes() for path in folder.iterdir()}

        again = encode(scenario, force=True)
        assert (again["texts_encoded"], again["texts_from_cache"], again["tokens"]) == (0, 5, 0)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

        new = {**ANSWERS[0], "entity_id": "12", "answer": "a heist goes wrong"}
        write_lines(small_folder / "answers.jsonl", [*ANSWERS, new])
        nightly = encode(scenario)
        assert (nightly["texts_encoded"], nightly["texts_from_cache"]) == (1, 5)
        assert server.texts == dict.fromkeys(server.texts, 1) and len(server.texts) == 6
        assert manifest_of(scenario)["encoder"] == {
            "kind": "endpoint", "model": "toy", "base_url": server.url, "dimension": 6,
        }  # fmt: skip


def test_where_the_cache_is_says_nothing_about_the_result(small_scenario, small_folder):
    with embeddings_server() as server:
        scenario = small_scenario(**at(server))
        encode(scenario)
        elsewhere = small_scenario(
            **at(server, cache=str(small_folder / "kept"), api_key_variable="TOY_KEY")
        )
        assert encode(elsewhere)["skipped"]
        manifest = manifest_of(scenario)
        assert encode(elsewhere, force=True)["texts_encoded"] == 5
        assert manifest_of(scenario) == manifest
        (folder,) = (small_folder / "kept").iterdir()
        assert json.loads((folder / "encoder.json").read_text())["model"] == "toy"
        (other,) = encode(small_scenario(**at(server, model="other")), dry_run=True)["sources"]
        assert not other["would_skip"]


def test_sources_share_the_cache(small_scenario, small_folder):
    write_lines(small_folder / "copies.jsonl", [{**answer, "source": "film"} for answer in ANSWERS])
    film = {"entity": "item", "individual": [str(small_folder / "copies.jsonl")]}
    with embeddings_server() as server:
        scenario = small_scenario(knowledge__answers__film=film, **at(server))
        result = encode(scenario, sources=["item", "film"])
        assert result["sources"]["film"]["texts_from_cache"] == 3
        assert result["texts_encoded"] == 5


def test_a_refused_text_is_a_dead_letter(small_scenario):
    def no_battles(call: EmbeddingsCall):
        refuse = any("battle" in text for text in call.texts)
        return failure(400, "too violent") if refuse else embeddings(call)

    with embeddings_server(no_battles) as server:
        scenario = small_scenario(**at(server))
        result = encode(scenario)
    assert letters_of(scenario) == [("answers.jsonl", 2, "encoder_refused")]
    assert (result["records_in"], result["records_out"], result["dead_letters"]) == (5, 4, 1)


def test_an_endpoint_that_cannot_work_fails_the_step_and_keeps_what_was_paid(small_scenario):
    def breaks_down(call: EmbeddingsCall):
        return embeddings(call) if len(server.calls) < 3 else failure(403, "no credit")

    with embeddings_server(breaks_down) as server:
        scenario = small_scenario(**at(server))
        with pytest.raises(CommandError, match="the key does not allow this model") as raised:
            encode(scenario)
        assert "while running" not in str(raised.value)
    (folder,) = (Path(scenario.work_dir) / "encoded_texts").iterdir()
    assert len(list(folder.glob("*.parquet"))) == 2


def test_factors_are_sources_of_their_own(small_scenario, small_folder):
    factors = {"genre": "noir", "mood": "bleak"}
    plain = {"source": "item", "extraction": "individual"}
    write_lines(
        small_folder / "structured.jsonl",
        [
            {**plain, "entity_id": "1", "answer": json.dumps(factors)},
            {**plain, "entity_id": "2", "answer": "genre: comedy", "factors": {"genre": "comedy"}},
            {**plain, "entity_id": "3", "answer": "a comedy"},
            {**plain, "entity_id": "4", "answer": json.dumps({"mood": "happy", "genre": " "})},
            {**plain, "entity_id": "5", "answer": '["noir"]'},
        ],
    )
    answers = {
        "entity": "item",
        "individual": [str(small_folder / "structured.jsonl")],
        "factors": ["genre", "mood"],
    }
    with (small_folder / "interactions.csv").open("a") as log:
        log.write("zoe,1,4,1\nzoe,2,4,2\nzoe,4,4,3\n")
    with embeddings_server() as server:
        scenario = small_scenario(
            knowledge__answers={"item": answers},
            knowledge__sources=["item_genre", "item_mood"],
            **at(server),
        )
        result = encode(scenario)
    assert list(result["sources"]) == ["item_genre", "item_mood"]
    genres, moods = vectors_by_id(scenario, "item_genre"), vectors_by_id(scenario, "item_mood")
    assert (sorted(genres), sorted(moods)) == (["1", "2"], ["1", "4"])
    np.testing.assert_array_equal(genres["2"], rounded("comedy"))
    np.testing.assert_array_equal(moods["4"], rounded("happy"))
    assert letters_of(scenario, "item_genre") == [
        ("structured.jsonl", 3, "unstructured_answer"),
        ("structured.jsonl", 4, "missing_factor"),
        ("structured.jsonl", 5, "unstructured_answer"),
    ]
    assert manifest_of(scenario, "item_genre")["counts"]["records_in"] == 5


def test_users_may_be_encoded_with_their_history(small_scenario, small_folder):
    user = {"source": "user", "extraction": "individual", "answer": "Likes noir."}
    prompt = "Given a history: Heat 4 stars; Alien 5 stars. Analyze."
    write_lines(
        small_folder / "users.jsonl",
        [{**user, "entity_id": "ann", "prompt": prompt}, {**user, "entity_id": "bob"}],
    )
    answers = {
        "entity": "user",
        "individual": [str(small_folder / "users.jsonl")],
        "history_entry_pattern": " stars[;.]",
    }
    with embeddings_server() as server:
        scenario = small_scenario(
            knowledge__answers__user=answers,
            knowledge__sources=["user"],
            **at(server, text="history_and_answer"),
        )
        encode(scenario)
    assert sorted(server.texts) == ["Heat 4 stars; Alien 5 stars. Likes noir.", "Likes noir."]
    assert manifest_of(scenario, "user")["counts"]["answers_without_history"] == 1


def write_vectors(path: Path, ids: list[str | None], vectors: list, **columns: list) -> str:
    parquet.write_table(pa.table({"entity_id": ids, "vector": vectors, **columns}), path)
    return str(path)


def test_vectors_made_elsewhere_need_no_encoder(small_scenario, small_folder):
    more = small_folder / "more.npz"
    np.savez(more, ids=np.array(["7", "20"]), vectors=np.array([[9.0, 9.0], [0.1, 70000.0]]))
    files = [
        write_vectors(
            small_folder / "first.parquet",
            ["10", "7", None, "9", "8", "7"],
            [[1.0, 2.0], [0.5, 0.25], [1.0, 1.0], [1.0, 2.0, 3.0], [0.0, 0.0], [3.0, 3.0]],
            group_id=["file", "file", "", "", "", ""],
        ),
        str(more),
    ]
    item = {"entity": "item", "vectors": files, "groups": str(small_folder / "groups.csv")}
    scenario = small_scenario(
        knowledge__answers={"item": item},
        knowledge__encoder={"kind": "sentence-transformers", "model": "never loaded"},
    )
    result = encode(scenario)
    knowledge = read_knowledge(scenario.work_dir, "item")
    assert knowledge.entity_ids == ["10", "7"]
    assert knowledge.vectors.tolist() == [[1.0, 2.0], [0.5, 0.25]]
    assert knowledge.group_ids == ["g1", "file"]  # the groups file wins where it knows the item
    assert knowledge.extraction == ["individual", "individual"]
    assert letters_of(scenario) == [
        ("first.parquet", 3, "blank_field"),
        ("first.parquet", 4, "wrong_width"),
        ("first.parquet", 5, "zero_vector"),
        ("first.parquet", 6, "duplicate_entity"),
        ("more.npz", 1, "duplicate_entity"),
        ("more.npz", 2, "non_finite_vector"),
    ]
    item_result = result["sources"]["item"]
    assert (result["records_in"], result["records_out"], result["dead_letters"]) == (8, 2, 6)
    assert item_result["entities_without_answer"] == 3 and result["texts_encoded"] == 0
    manifest = manifest_of(scenario)
    assert manifest["encoder"] is None and manifest["vectors"]["dimension"] == 2
    assert not any(key.startswith("knowledge.encoder") for key in manifest["settings"])
    assert encode(scenario)["skipped"]


def test_records_of_this_project_are_vectors_made_elsewhere(small_scenario, small_folder):
    original = small_scenario()
    encode(original)
    folder = WorkDirectory(original.work_dir).knowledge("item")
    item = {"entity": "item", "vectors": [str(path) for path in folder.shards]}
    copy = small_scenario(work_dir=str(small_folder / "copy"), knowledge__answers={"item": item})
    encode(copy)
    one, two = (read_knowledge(scenario.work_dir, "item") for scenario in (original, copy))
    assert (one.entity_ids, one.extraction, one.group_ids) == (
        two.entity_ids, two.extraction, two.group_ids,
    )  # fmt: skip
    np.testing.assert_array_equal(one.vectors, two.vectors)
    for path, again in zip(
        folder.shards, WorkDirectory(copy.work_dir).knowledge("item").shards, strict=True
    ):
        assert path.read_bytes() == again.read_bytes()


def test_vectors_of_no_use_are_no_source(small_scenario, small_folder):
    path = write_vectors(small_folder / "v.parquet", ["a", "b"], [[0.0, 0.0], [None, 1.0]])
    item = {"entity": "item", "vectors": [path]}
    with pytest.raises(CommandError, match=r"rejected \((zero_vector 1|non_finite_vector 1), "):
        encode(small_scenario(knowledge__answers={"item": item}))


def test_a_damaged_vector_file_is_named(small_scenario, small_folder):
    import tensorflow as tf

    path = small_folder / "v.tfrecord"
    example = tf.train.Example()
    example.features.feature["entity_id"].bytes_list.value.append(b"a")
    example.features.feature["vector"].float_list.value.extend([1.0] * 300)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(2000):
            writer.write(example.SerializeToString())
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 10)
    item = {"entity": "item", "vectors": [str(path)]}
    with pytest.raises(CommandError) as raised:
        encode(small_scenario(knowledge__answers={"item": item}))
    assert str(raised.value) == (
        f"{path}: record 2000: the record is cut off; copy or make the file again"
    )
    with pytest.raises(ConfigurationError, match=r"x\.csv': vectors are read from"):
        (small_folder / "x.csv").write_text("x")
        item["vectors"] = [str(small_folder / "x.csv")]
        encode(small_scenario(knowledge__answers={"item": item}))


def test_statistics_are_those_of_the_written_vectors(small_scenario):
    scenario = small_scenario(knowledge__shards=3)
    encode(scenario)
    vectors = read_knowledge(scenario.work_dir, "item").vectors.astype(np.float64)
    with np.load(Path(scenario.work_dir) / "knowledge" / "item" / "statistics.npz") as arrays:
        assert arrays["count"] == 5
        np.testing.assert_allclose(arrays["mean"], vectors.mean(axis=0), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(arrays["standard_deviation"], vectors.std(axis=0), rtol=1e-9)
    manifest = manifest_of(scenario)
    norms = np.linalg.norm(vectors, axis=1)
    assert manifest["vectors"]["norms"]["maximum"] == pytest.approx(norms.max(), rel=1e-5)
    assert list(manifest["vectors"]["norms_by_extraction"]) == ["individual", "collective"]
    # 10, 9, 7 have answers of their own, 100 and 5 take their group's, 200 has none
    assert manifest["shares"] == {"individual": 0.5, "collective": 0.333333, "none": 0.166667}


def test_workers_need_to_see_the_staging_folder_only(small_scenario, small_folder, monkeypatch):
    store = small_folder / "store"
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(store))
    staged = BeamOptions(staging="shared://staging")
    with embeddings_server() as server:
        local, remote = (
            small_scenario(work_dir=str(small_folder / name), **at(server))
            for name in ("local", "remote")
        )
        encode(local)
        encode(remote, beam=staged)
        assert encode(remote, beam=staged, force=True)["texts_from_cache"] == 5
    folders = [
        WorkDirectory(scenario.work_dir).knowledge("item").path for scenario in (local, remote)
    ]
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1]
    (cache,) = (store / "staging" / "encoded_texts").iterdir()
    assert any(path.suffix == ".parquet" for path in cache.iterdir())
    assert not (small_folder / "remote" / "encoded_texts").exists()


def test_answers_about_groups_without_members_make_no_source(small_scenario, small_folder):
    write_lines(small_folder / "group_answers.jsonl", GROUP_ANSWERS[1:])
    scenario = small_scenario(knowledge__answers__item__individual=[])
    with pytest.raises(CommandError, match="item: no entity has knowledge.*compare the group ids"):
        encode(scenario)


def test_groups_made_here_reach_workers_elsewhere(small_scenario, small_folder, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(small_folder / "store"))
    item = {
        "entity": "item",
        "collective": [str(small_folder / "group_answers.jsonl")],
        "grouping": {"maximum_size": 4},
    }
    scenario = small_scenario(knowledge__answers={"item": item})
    make_groups(scenario)
    groups = (Path(scenario.work_dir) / "groups" / "item" / "groups.csv").read_text()
    group_of = dict(line.split(",") for line in groups.splitlines()[1:])
    assert len(group_of) > 3
    write_lines(
        small_folder / "group_answers.jsonl",
        [{**GROUP_ANSWERS[0], "entity_id": group} for group in set(group_of.values())],
    )
    encode(scenario, beam=BeamOptions(staging="shared://staging"))
    knowledge = read_knowledge(scenario.work_dir, "item")
    assert dict(zip(knowledge.entity_ids, knowledge.group_ids, strict=True)) == group_of


def test_the_commonest_reason_is_explained_where_it_occurs_first():
    letters = [
        dead_letter("a.jsonl", 1, "malformed_json", "Expecting value"),
        dead_letter("b.jsonl", 2, "extraction_mismatch", "the record says ..."),
        dead_letter("b.jsonl", 3, "extraction_mismatch", "another record says ..."),
    ]
    assert str(no_usable_answer("film", ["a.jsonl", "b.jsonl"], letters)) == (
        "knowledge.answers.film: every answer was rejected (extraction_mismatch 2, "
        "malformed_json 1). b.jsonl, line 2: the record says .... Name files of answers about "
        "single entities under 'individual', files of answers about groups under 'collective'"
    )


def test_a_reason_without_advice_of_its_own_gets_the_general_one():
    letters = [dead_letter("a.jsonl", 7, "blank_answer", "field 'answer' is empty")]
    message = str(no_usable_answer("film", ["a.jsonl"], letters))
    assert message.endswith("field 'answer' is empty. Correct the answers, or name other files")


def test_files_without_answers_are_named():
    message = str(no_usable_answer("film", ["a.jsonl", "b.jsonl"], []))
    assert message == "knowledge.answers.film: there are no answers in a.jsonl, b.jsonl"


def test_files_that_hold_answers_of_other_sources_only_are_named():
    message = str(no_usable_answer("film", ["a.jsonl"], [], elsewhere=1200))
    assert "all 1,200 answers in a.jsonl are of other sources" in message
