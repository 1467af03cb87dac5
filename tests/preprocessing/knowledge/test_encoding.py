from __future__ import annotations

import json
import weakref
from collections import Counter

import apache_beam as beam
import numpy as np
import pytest

from configs.knowledge import Encoder
from preprocessing import storage
from preprocessing.answers.record import Answer, Location
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.beam_sinks import STATISTICS
from preprocessing.encoders.tfidf import TfidfEncoder
from preprocessing.knowledge import vector_cache
from preprocessing.knowledge.accepting import accepted_file, write_accepted
from preprocessing.knowledge.encoding import (
    EncoderHandler,
    TextVectors,
    cache_files,
    encode_answers,
    look_up,
    number_of_ranges,
)
from preprocessing.knowledge.vector_cache import (
    CacheFile,
    list_cache,
    prefix_of,
    text_hash,
    write_vectors,
)
from tests.preprocessing.encoders.embeddings_server import (
    EmbeddingsServer,
    embeddings_server,
    reply_with,
    vector_of,
)


def test_every_list_of_texts_gets_its_matrix(tmp_path):
    settings = Encoder(kind="tfidf", dimension=2)
    TfidfEncoder.prepare(settings, ["red car", "blue car", "red sky"], str(tmp_path))
    handler = EncoderHandler(settings, str(tmp_path))
    model = handler.load_model()
    weakref.ref(model)  # RunInference shares models by weak reference
    encoded = list(handler.run_inference([["red car", "sky"], ["blue"]], model))
    assert [result.vectors.shape for result in encoded] == [(2, 2), (1, 2)]
    np.testing.assert_array_equal(encoded[1].vectors, model.encode(["blue"]).vectors)
    assert handler.get_num_bytes([["ab", "c"], ["d"]]) == 4


def test_a_list_leaves_the_handler_before_the_next_one_comes():
    batching = EncoderHandler(Encoder(kind="tfidf"), "").batch_elements_kwargs()
    assert (batching["min_batch_size"], batching["max_batch_size"]) == (1, 1)


TEXTS = {"a": "a film about trains", "b": "a film about love", "c": "a film about trains"}


def write_answers(folder, texts: dict[str, str]) -> None:
    shards: list[list[Answer]] = [[], []]
    for number, (entity, text) in enumerate(texts.items()):
        location = Location("file", number + 1)
        shards[number % 2].append(Answer("item", entity, "individual", text, location=location))
    for shard, answers in enumerate(shards):
        write_accepted(accepted_file(str(folder), shard), answers)


def encode(
    folder, server: EmbeddingsServer, texts: dict[str, str], batch_size: int = 2
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Vector of each entity, and the counts."""
    write_answers(folder, texts)
    settings = Encoder(kind="endpoint", model="toy", base_url=server.url, batch_size=batch_size)
    collected = folder / "found.jsonl"
    collected.unlink(missing_ok=True)

    def write(element: TextVectors | dict[str, int]) -> None:
        if isinstance(element, TextVectors):
            assert element.vectors.dtype == np.float16
            rows = zip(element.answers, element.vectors.tolist(), strict=True)
            element = {
                "vectors": [
                    (answer.entity_id, vector) for answers, vector in rows for answer in answers
                ]
            }
        with collected.open("a") as file:
            file.write(json.dumps(element) + "\n")

    def build(pipeline: beam.Pipeline) -> None:
        cache = str(folder / "cache")
        shards = pipeline | beam.Create(range(2))
        encoded = encode_answers(shards, settings, str(folder), str(folder), cache, len(texts))
        (encoded["vectors"], encoded[STATISTICS]) | beam.Flatten() | beam.Map(write)

    run_pipeline(build, BeamOptions())
    elements = [json.loads(line) for line in collected.read_text().splitlines()]
    pairs = [pair for element in elements for pair in element.pop("vectors", [])]
    assert len(pairs) == len(texts)
    return dict(pairs), dict(sum(map(Counter, elements), Counter()))


def rounded(text: str) -> list[float]:
    return vector_of(text).astype(np.float16).tolist()


def test_equal_texts_are_encoded_once_and_a_second_run_encodes_nothing(tmp_path):
    with embeddings_server() as server:
        vectors, counts = encode(tmp_path, server, TEXTS)
        assert vectors == {entity: rounded(text) for entity, text in TEXTS.items()}
        assert counts == {"texts": 2, "texts_encoded": 2, "tokens": 6}
        assert server.texts == {text: 1 for text in set(TEXTS.values())}
        again, counts = encode(tmp_path, server, TEXTS)
        assert again == vectors
        assert counts == {"texts": 2, "texts_from_cache": 2}
        more = TEXTS | {"d": "a film about rain"}
        vectors, counts = encode(tmp_path, server, more)
        assert vectors == {entity: rounded(text) for entity, text in more.items()}
        assert counts["texts_encoded"] == 1 and counts["texts_from_cache"] == 2
        assert set(server.texts.values()) == {1}


def test_damaged_files_are_encoded_again_and_repaired(tmp_path, capsys):
    with embeddings_server() as server:
        encode(tmp_path, server, TEXTS)
        (file,) = list_cache(str(tmp_path / "cache"))
        with open(file.path, "r+b") as stream:
            stream.truncate(200)
        vectors, counts = encode(tmp_path, server, TEXTS)
        assert vectors == {entity: rounded(text) for entity, text in TEXTS.items()}
        assert counts["texts_encoded"] == 2
        assert f"{file.path}: damaged, its texts are encoded again" in capsys.readouterr().err
        _, counts = encode(tmp_path, server, TEXTS)
        assert counts == {"texts": 2, "texts_from_cache": 2}
        assert "damaged" not in capsys.readouterr().err


def test_vectors_without_content_are_not_kept(tmp_path):
    replies = iter([reply_with([[float("nan")], [0.0]]), reply_with([[1.0], [2.0]])])
    with embeddings_server(lambda call: next(replies)) as server:
        vectors, _ = encode(tmp_path, server, TEXTS)
        assert all(not np.isfinite(vector).all() or vector == [0] for vector in vectors.values())
        vectors, counts = encode(tmp_path, server, TEXTS)
        assert counts["texts_encoded"] == 2
        assert sorted(set(map(tuple, vectors.values()))) == [(1.0,), (2.0,)]


def test_texts_from_the_cache_are_never_sent(tmp_path):
    kept = np.full((1, 6), 0.25, np.float16)
    write_vectors(str(tmp_path / "cache"), [text_hash(TEXTS["b"])], kept)
    with embeddings_server() as server:
        vectors, _ = encode(tmp_path, server, TEXTS)
        assert vectors["b"] == [0.25] * 6
        assert list(server.texts) == [TEXTS["a"]]


def test_many_small_files_are_merged_by_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_cache, "_FILES_PER_MERGE", 10)
    texts = {str(number): f"text number {number}" for number in range(50)}
    with embeddings_server() as server:
        vectors, _ = encode(tmp_path, server, texts)
        assert len(list_cache(str(tmp_path / "cache"))) == 25
        for _ in range(2):
            again, counts = encode(tmp_path, server, texts)
            assert again == vectors and counts == {"texts": 50, "texts_from_cache": 50}
            assert len(list_cache(str(tmp_path / "cache"))) < 10


@pytest.mark.parametrize("cleared", [False, True])
def test_a_file_that_another_run_merged_is_found_where_it_is_now(tmp_path, cleared):
    cache = str(tmp_path / "cache")
    hashes = [text_hash(text) for text in TEXTS.values()]
    write_vectors(cache, hashes[:1], np.full((1, 2), 0.5, np.float16))
    listed = list(cache_files(cache, 1))
    storage.delete_file(listed[0][1].path)
    if not cleared:
        write_vectors(cache, hashes[:2], np.full((2, 2), 0.5, np.float16))
    answers = [
        (digest, text, Answer("item", entity, "individual", ""))
        for digest, (entity, text) in zip(hashes, TEXTS.items(), strict=True)
    ]
    grouped = {"texts": [answers], "files": [file for _, file in listed]}
    counts = next(look_up((0, grouped), 8, cache, 1)).value
    assert counts == {"texts": 2, "texts_from_cache": 0 if cleared else 2}


@pytest.mark.parametrize(
    ("texts", "ranges"), [(0, 1), (8191, 1), (8192, 2), (1_000_000, 128), (10**9, 4096)]
)
def test_ranges_are_a_power_of_two_with_thousands_of_texts_each(texts, ranges):
    assert number_of_ranges(texts) == ranges


def test_a_file_reaches_every_range_that_its_hashes_may_be_in(tmp_path):
    hashes = sorted(text_hash(str(number)) for number in range(200))
    vectors = np.ones((200, 2), np.float16)
    write_vectors(str(tmp_path), hashes[:20], vectors[:20])
    write_vectors(str(tmp_path), hashes[20:], vectors[20:])
    listed: set[tuple[int, CacheFile]] = set(cache_files(str(tmp_path), 8))
    for digest in hashes:
        mine = [file for number, file in listed if number == prefix_of(digest) * 8 // 65536]
        assert any(file.first <= prefix_of(digest) <= file.last for file in mine)
    assert len(listed) < 16
