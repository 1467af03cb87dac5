from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from configs.command_line import CommandError, RejectedInput
from configs.loading import ConfigurationError
from preprocessing.encode import default_sources, encode
from preprocessing.encoders.text_encoder import EncodedTexts
from preprocessing.encoders.tfidf import TfidfEncoder
from preprocessing.grouping.plan import groups_file
from preprocessing.grouping.step import make_groups
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.answers.small_files import record
from tests.preprocessing.encoders.embeddings_server import (
    EmbeddingsCall,
    embeddings,
    embeddings_server,
)
from tests.preprocessing.generation.chat_server import Reply, failure
from tests.preprocessing.small_data import (
    ANSWERS,
    GROUP_ANSWERS,
    bucket_of,
    letters_of,
    write_lines,
)


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


def test_a_log_that_is_read_otherwise_is_compared_anew(small_scenario, small_folder):
    log = small_folder / "interactions.csv"
    lines = log.read_text().splitlines()
    named = [lines[0] + ",film", *(f"{line},x{line.split(',')[1]}" for line in lines[1:])]
    log.write_text("\n".join(named) + "\n")
    columns = dict(zip(("user", "item", "rating", "timestamp"), lines[0].split(","), strict=True))
    with pytest.raises(CommandError, match="none of the 9 items of the log"):
        encode(small_scenario(data__interactions__columns=columns | {"item": "film"}))
    result = encode(small_scenario(data__interactions__columns=columns))
    assert result["skipped"] and result["sources"]["item"]["coverage"]["covered_ids"] == 5


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


def test_bad_answers_become_dead_letters_with_line_and_reason(small_scenario, small_folder):
    good = ANSWERS[0]
    prompt = {"prompt": "Introduce Größe", "prompt_sha256": "0" * 64}
    right = {**prompt, "prompt_sha256": hashlib.sha256("Introduce Größe".encode()).hexdigest()}
    lines = [
        json.dumps(good).encode(),
        b"{not json",
        b"[1, 2]",
        json.dumps({key: good[key] for key in good if key != "answer"}).encode(),
        json.dumps({**good, "entity_id": " "}).encode(),
        json.dumps({**good, "answer": "\n"}).encode(),
        json.dumps({**good, "entity_id": 10}).encode(),
        json.dumps({**good, "source": "user"}).encode(),
        json.dumps({**good, "extraction": "collective"}).encode(),
        json.dumps({**good, "entity_id": "8", **prompt}).encode(),
        b"",
        b'{"answer": "\xff"}',
        json.dumps({**good, "entity_id": "8", "answer": "\ud800"}).encode(),
        json.dumps({**good, "entity_id": "6", "answer": "! ? !"}).encode(),
        json.dumps({**good, "answer": "a second answer"}).encode(),
        json.dumps({**good, "entity_id": "8", **right}).encode(),
    ]
    (small_folder / "answers.jsonl").write_bytes(b"\n".join(lines))
    scenario = small_scenario()
    result = encode(scenario)
    assert letters_of(scenario) == [
        ("answers.jsonl", 2, "malformed_json"),
        ("answers.jsonl", 3, "not_an_object"),
        ("answers.jsonl", 4, "missing_field"),
        ("answers.jsonl", 5, "blank_field"),
        ("answers.jsonl", 6, "blank_answer"),
        ("answers.jsonl", 7, "wrong_type"),
        ("answers.jsonl", 8, "source_mismatch"),
        ("answers.jsonl", 9, "extraction_mismatch"),
        ("answers.jsonl", 10, "prompt_hash_mismatch"),
        ("answers.jsonl", 12, "invalid_utf8"),
        ("answers.jsonl", 13, "invalid_text"),
        ("answers.jsonl", 14, "zero_vector"),
        ("answers.jsonl", 15, "duplicate_entity"),
    ]
    assert (result["records_in"], result["records_out"], result["dead_letters"]) == (17, 4, 13)
    assert read_knowledge(scenario.work_dir, "item").entity_ids == ["10", "100", "5", "8"]
    with pytest.raises(RejectedInput) as raised:
        encode(scenario, strict=True)
    assert raised.value.result["dead_letters"] == 13


def test_bad_group_rows_are_dead_letters_beside_the_answers(small_scenario, small_folder):
    (small_folder / "groups.csv").write_text(
        "item_id,group_id\n10,g1\n100,g1\n100,g2\n,g1\n5,\n3\n", encoding="utf-8"
    )
    scenario = small_scenario()
    result = encode(scenario)
    assert letters_of(scenario) == [
        ("groups.csv", 4, "duplicate_entity"),
        ("groups.csv", 5, "missing_item_id"),
        ("groups.csv", 6, "missing_group_id"),
        ("groups.csv", 7, "wrong_column_count"),
    ]
    assert result["dead_letters"] == 0
    groups = result["sources"]["item"]["groups"]
    assert (groups["records_in"], groups["records_out"], groups["dead_letters"]) == (6, 2, 4)
    with pytest.raises(RejectedInput):
        encode(scenario, strict=True)


def test_the_first_answer_counts_across_files_in_the_configured_order(small_scenario, small_folder):
    write_lines(small_folder / "later.jsonl", [{**ANSWERS[0], "answer": "loud space battle"}])
    files = [str(small_folder / "later.jsonl"), str(small_folder / "answers.jsonl")]
    scenario = small_scenario(knowledge__answers__item__individual=files)
    encode(scenario)
    assert letters_of(scenario) == [("answers.jsonl", 1, "duplicate_entity")]
    knowledge = read_knowledge(scenario.work_dir, "item")
    np.testing.assert_array_equal(
        knowledge.vectors[knowledge.entity_ids.index("10")],
        knowledge.vectors[knowledge.entity_ids.index("9")],
    )


def test_a_source_without_usable_answers_fails_and_says_why(small_scenario, small_folder):
    scenario = small_scenario()
    encode(scenario)
    directory = WorkDirectory(scenario.work_dir).knowledge("item")
    before = directory.manifest.read_bytes()
    renamed = [{**answer, "source": "film"} for answer in ANSWERS]
    write_lines(small_folder / "answers.jsonl", renamed)
    (small_folder / "group_answers.jsonl").write_text("oops\n")
    with pytest.raises(CommandError) as raised:
        encode(scenario)
    message = str(raised.value)
    assert "knowledge.answers.item: every answer was rejected" in message
    assert "(source_mismatch 3, malformed_json 1)" in message
    assert "answers.jsonl, line 1: the record says source 'film', but 'item' was asked" in message
    assert directory.manifest.read_bytes() == before
    assert os.listdir(directory.path.parent) == ["item"]


def test_vectors_without_content_are_no_source(small_scenario, monkeypatch):
    nothing = EncodedTexts(np.zeros([5, 3], np.float32))
    monkeypatch.setattr(TfidfEncoder, "encode", lambda _, texts: nothing)
    scenario = small_scenario()
    with pytest.raises(CommandError, match=r"every answer was rejected \(zero_vector 5\)"):
        encode(scenario)
    assert not WorkDirectory(scenario.work_dir).knowledge("item").path.exists()


def test_empty_answer_files_are_no_source(small_scenario, small_folder):
    (small_folder / "answers.jsonl").write_text("")
    (small_folder / "group_answers.jsonl").write_text("\n")
    with pytest.raises(CommandError, match=r"there are no answers in .*answers\.jsonl, .*group_an"):
        encode(small_scenario())


def test_wrong_configuration_is_explained(small_scenario, small_folder):
    with pytest.raises(ConfigurationError, match=r"no source 'film'.*\(there: item\)"):
        encode(small_scenario(), sources=["film"])
    with pytest.raises(ConfigurationError, match=r"knowledge\.answers\.item\.individual"):
        encode(small_scenario(knowledge__answers__item__individual=["absent.jsonl"]))
    (small_folder / "groups.csv").write_text("movie,group_id\n1,g1\n")
    with pytest.raises(ConfigurationError, match="no column 'item_id'"):
        encode(small_scenario())
    (small_folder / "groups.csv").write_text("item_id,group_id\n")
    cut = small_folder / "cut.jsonl.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(CommandError, match="cut off"):
        encode(small_scenario(knowledge__answers__item__individual=[str(cut)]))


def test_rejected_answers_are_explained(small_scenario, small_folder, capsys):
    write_lines(small_folder / "answers.jsonl", [*ANSWERS, {**ANSWERS[0], "entity_id": ""}])
    encode(small_scenario())
    assert "  1 blank_field: a field is empty" in capsys.readouterr().err


def test_the_key_of_an_embeddings_endpoint_is_written_nowhere(
    small_scenario, small_folder, monkeypatch, capsys
):
    key = "sk-of-the-encoder-42"
    monkeypatch.setenv("OPENAI_API_KEY", f"{key}\n")  # as mounted secrets end

    def tell_tale(call: EmbeddingsCall) -> Reply:
        assert call.authorization == f"Bearer {key}"
        if "refused" in call.texts[0]:
            return failure(400, f"you sent {call.authorization}")
        return embeddings(call)

    refused = {**ANSWERS[0], "entity_id": "8", "answer": "a text that is refused"}
    write_lines(small_folder / "answers.jsonl", [ANSWERS[0], refused])
    with embeddings_server(tell_tale) as server:
        encoder = {"kind": "endpoint", "model": "toy", "base_url": server.url, "batch_size": 1}
        scenario = small_scenario(knowledge__encoder=encoder)
        encode(scenario)
        with embeddings_server(lambda call: failure(401, f"bad {call.authorization}")) as closed:
            encoder["base_url"] = closed.url
            with pytest.raises(CommandError, match=r"bad Bearer \[key\]"):
                encode(
                    small_scenario(knowledge__encoder=encoder, work_dir=str(small_folder / "other"))
                )
    letters = WorkDirectory(scenario.work_dir).knowledge("item").dead_letters
    assert "you sent Bearer [key]" in letters.read_text()
    assert key not in "".join(capsys.readouterr())
    for path in small_folder.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path


def test_which_sources_are_encoded(small_scenario, small_folder):
    users = {"entity": "user", "individual": [str(small_folder / "users.jsonl")]}
    write_lines(
        small_folder / "users.jsonl",
        [record("ann", "likes films", source="user")],
    )
    scenario = small_scenario(knowledge__answers__user=users, knowledge__sources=["user"])
    assert default_sources(scenario) == ["user"]
    assert default_sources(
        small_scenario(
            knowledge__answers__user=users, knowledge__sources=["user"], model__match="means"
        )
    ) == ["user", "item"]
    without_adapter = small_scenario(
        knowledge__answers__user=users, knowledge__sources=["user"], model__adapter="none"
    )
    assert default_sources(without_adapter) == ["user"]
    several = small_scenario(
        knowledge__answers__user=users,
        knowledge__answers__text={"entity": "item", "metadata": ["title"]},
        knowledge__answers__noise={"entity": "item", "random": {}},
        knowledge__sources=["user"],
        model__adapter="none",
        model__match="means",
        model__prior=True,
        model__knowledge_match={"sources": ["noise", "item"]},
        model__knowledge_prior={"sources": ["item", "text"]},
    )
    assert default_sources(several) == ["user", "noise", "item", "text"]
    result = encode(scenario)
    assert list(result["sources"]) == ["user"]
    assert read_knowledge(scenario.work_dir, "user").vectors.shape == (1, 3)
    assert list(encode(scenario, sources=["item", "item"])["sources"]) == ["item"]


def test_groups_that_are_made_here_are_made_first(small_scenario, small_folder, capsys):
    made = {
        "entity": "item",
        "collective": [str(small_folder / "group_answers.jsonl")],
        "grouping": {"maximum_size": 3, "features": ["text"]},
    }
    scenario = small_scenario(knowledge__answers__item=made)
    planned = encode(scenario, dry_run=True)["sources"]
    assert [(plan["step"], plan["would_skip"]) for plan in planned] == [
        ("group item", False),
        ("encode item", False),
    ]
    assert not Path(scenario.work_dir).exists()
    make_groups(scenario)
    path = groups_file(scenario, "item")
    assert path is not None
    rows = Path(path).read_text().splitlines()[1:]
    groups = dict(row.split(",") for row in rows)
    answers = [
        record(group, f"quiet films {n} of war", extraction="collective")
        for n, group in enumerate(sorted(set(groups.values())))
    ]
    write_lines(small_folder / "group_answers.jsonl", answers)
    shutil.rmtree(scenario.work_dir)
    result = encode(scenario)["sources"]["item"]
    shown = capsys.readouterr().err
    assert shown.index("group item: 5 of 5 items") < shown.index("encode item: 2 answers")
    assert (result["collective_entities"], result["entities_without_answer"]) == (5, 0)
    assert encode(scenario)["skipped"]
    planned = encode(scenario, dry_run=True)["sources"]
    assert [(plan["step"], plan["would_skip"]) for plan in planned] == [("encode item", True)]
    # without known interactions the groups have other names: answers about the old are not used
    other = small_scenario(knowledge__answers__item=made, split__knowledge_history_cap=0)
    with pytest.raises(CommandError, match="groups to which nobody belongs"):
        encode(other)


def test_one_answer_file_serves_all_sources(small_scenario, small_folder):
    plain = small_scenario()
    encode(plain)
    alone = read_knowledge(plain.work_dir, "item")
    users = [
        {"source": "user", "entity_id": name, "extraction": "individual", "answer": text}
        for name, text in (("ann", "likes quiet drama"), ("bob", "likes loud space battle"))
    ]
    factors = {"genre": "family drama", "mood": "quiet"}
    film = {**ANSWERS[0], "source": "film", "factors": factors}
    shared = str(small_folder / "all.jsonl")
    records = [users[0], *ANSWERS, film, *GROUP_ANSWERS, {**film, "entity_id": "9"}, users[1]]
    write_lines(small_folder / "all.jsonl", records)
    scenario = small_scenario(
        work_dir=str(small_folder / "shared"),
        knowledge__answers__item__individual=[shared],
        knowledge__answers__item__collective=[shared],
        knowledge__answers__user={"entity": "user", "individual": [shared]},
        knowledge__answers__film={
            "entity": "item", "individual": [shared], "factors": ["genre", "mood"],
        },
    )  # fmt: skip
    result = encode(scenario, sources=["item", "user", "film_genre"], strict=True)
    counts = {
        name: [
            source[key] for key in ("records_in", "records_out", "dead_letters", "other_sources")
        ]
        for name, source in result["sources"].items()
    }
    # item reads the file twice: 3 individual, 2 collective answers of 9 lines each
    assert counts == {
        "item": [5, 5, 0, 13], "user": [2, 2, 0, 7], "film_genre": [2, 2, 0, 7],
    }  # fmt: skip
    assert result["other_sources"] == 27
    together = read_knowledge(scenario.work_dir, "item")
    assert (together.entity_ids, together.group_ids) == (alone.entity_ids, alone.group_ids)
    np.testing.assert_array_equal(together.vectors, alone.vectors)
    manifest = json.loads(WorkDirectory(scenario.work_dir).knowledge("user").manifest.read_text())
    assert manifest["counts"]["other_sources"] == 7


def test_unknown_sources_and_broken_lines_of_a_shared_file_are_dead_letters_once(
    small_scenario, small_folder
):
    path = small_folder / "answers.jsonl"
    strange = [{**answer, "source": "film"} for answer in (ANSWERS[0], GROUP_ANSWERS[0])]
    write_lines(path, [*ANSWERS, *GROUP_ANSWERS, *strange])
    with path.open("a") as file:
        file.write("{not json\n")
    scenario = small_scenario(knowledge__answers__item__collective=[str(path)])
    result = encode(scenario)
    assert letters_of(scenario) == [
        ("answers.jsonl", 6, "source_mismatch"),
        ("answers.jsonl", 7, "source_mismatch"),
        ("answers.jsonl", 8, "malformed_json"),
    ]
    assert (result["records_in"], result["records_out"], result["other_sources"]) == (8, 5, 8)


def test_a_file_of_another_source_only_is_a_mistake(small_scenario, small_folder):
    write_lines(
        small_folder / "answers.jsonl", [{**answer, "source": "user"} for answer in ANSWERS]
    )
    user = {"entity": "user", "individual": [str(small_folder / "answers.jsonl")]}
    scenario = small_scenario(
        knowledge__answers__user=user,
        knowledge__answers__item={**user, "entity": "item"},
    )
    with pytest.raises(CommandError, match="answers.item: all 3 answers in .* of other sources"):
        encode(scenario)
