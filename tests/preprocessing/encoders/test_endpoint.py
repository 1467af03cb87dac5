from __future__ import annotations

import json

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.knowledge import Encoder
from configs.loading import ConfigurationError
from configs.openai_connection import ApiKey
from preprocessing.encoders.endpoint import EndpointEncoder, read_response
from tests.preprocessing.encoders.embeddings_server import (
    EmbeddingsCall,
    EmbeddingsServer,
    embeddings,
    embeddings_server,
    reply_with,
    vector_of,
)
from tests.preprocessing.generation.chat_server import Reply, failure

KEY = "sk-secret-42"
TEXTS = [f"text number {number}" for number in range(5)]


def encoder_at(server: EmbeddingsServer, batch_size: int = 2, retries: int = 3) -> EndpointEncoder:
    settings = Encoder(kind="endpoint", model="toy", base_url=server.url, batch_size=batch_size)
    return EndpointEncoder(settings, ApiKey(KEY), retries, first_delay_seconds=0.0)


def first_time(bad: Reply):
    """Answers badly the first time that a batch comes, then well."""
    return lambda call: bad if call.number == 1 else embeddings(call)


def test_texts_go_in_batches_and_vectors_come_back_in_order():
    with embeddings_server() as server:
        encoded = encoder_at(server).encode(TEXTS)
    np.testing.assert_array_equal(encoded.vectors, [vector_of(text) for text in TEXTS])
    assert encoded.vectors.dtype == np.float32
    assert encoded.refused == {} and encoded.tokens == 15
    assert sorted(len(call.texts) for call in server.calls) == [1, 2, 2]
    first = server.calls[0]
    assert first.authorization == f"Bearer {KEY}"
    assert (first.body["model"], first.body["encoding_format"]) == ("toy", "float")


@pytest.mark.parametrize(
    "bad",
    [
        failure(429, Retry_After="0"),
        failure(500),
        Reply(b"{"),
        Reply(b'{"data": 3}'),
        reply_with([[1.0, 2.0]]),  # one vector for two texts
        reply_with([[1.0], [2.0], [3.0]]),
        reply_with([[1.0], [2.0, 3.0]]),
        reply_with([[1.0], ["noir"]]),
        reply_with([[1.0], [10**400]]),
        reply_with([[1.0], []]),
        Reply(json.dumps({"data": [{"index": 0, "embedding": [1]}] * 2}).encode()),
    ],
)
def test_a_bad_response_is_asked_for_again(bad):
    with embeddings_server(first_time(bad)) as server:
        encoded = encoder_at(server).encode(TEXTS[:4])
    np.testing.assert_array_equal(encoded.vectors, [vector_of(text) for text in TEXTS[:4]])
    assert set(server.texts.values()) == {2}


def test_entries_are_sorted_by_their_index():
    def shuffled(call: EmbeddingsCall) -> Reply:
        return reply_with([vector_of(text).tolist() for text in call.texts], order=[2, 0, 1])

    with embeddings_server(shuffled) as server:
        encoded = encoder_at(server, batch_size=3).encode(TEXTS[:3])
    np.testing.assert_array_equal(encoded.vectors, [vector_of(text) for text in TEXTS[:3]])


def test_a_vector_that_is_no_number_is_passed_on_and_not_hidden():
    with embeddings_server(lambda call: reply_with([[float("nan"), 1.0], [1e39, 1.0]])) as server:
        encoded = encoder_at(server).encode(TEXTS[:2])
    assert np.isfinite(encoded.vectors).tolist() == [[False, True], [False, True]]


def test_one_text_that_is_refused_costs_only_itself():
    def no_third(call: EmbeddingsCall) -> Reply:
        return failure(400, "too long") if TEXTS[2] in call.texts else embeddings(call)

    with embeddings_server(no_third) as server:
        encoded = encoder_at(server, batch_size=4).encode(TEXTS)
    assert list(encoded.refused) == [2] and "too long" in encoded.refused[2]
    assert np.isnan(encoded.vectors[2]).all()
    kept = [0, 1, 3, 4]
    np.testing.assert_array_equal(encoded.vectors[kept], [vector_of(TEXTS[row]) for row in kept])
    assert encoded.tokens == 12


def test_an_endpoint_that_refuses_everything_gives_no_vectors():
    with embeddings_server(lambda call: failure(422, "no embeddings")) as server:
        encoded = encoder_at(server).encode(TEXTS[:3])
    assert encoded.vectors.shape == (3, 0) and sorted(encoded.refused) == [0, 1, 2]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (failure(401, f"wrong key {KEY}"), r"the key is wrong or missing.*\[key\]"),
        (failure(404, "no model toy"), "no such model or address"),
        (failure(500, "out of memory"), "4 calls; HTTP 500.*run the same command again"),
        (reply_with([[1.0]]), "1 vectors for 2 texts"),
    ],
)
def test_an_endpoint_that_cannot_work_is_explained(reply, message):
    with (
        embeddings_server(lambda call: reply) as server,
        pytest.raises(CommandError, match=message) as raised,
    ):
        encoder_at(server).encode(TEXTS[:2])
    assert KEY not in str(raised.value)


def test_a_model_that_changes_its_width_is_refused():
    def growing(call: EmbeddingsCall) -> Reply:
        return embeddings(call, width=3 if TEXTS[0] in call.texts else 4)

    with (
        embeddings_server(growing) as server,
        pytest.raises(CommandError, match=r"width [34] after others of width [34]"),
    ):
        encoder_at(server).encode(TEXTS[:4])


def test_the_key_comes_from_the_environment_of_the_worker(monkeypatch):
    monkeypatch.setenv("TOY_KEY", "sk-of-the-worker\n")
    with embeddings_server() as server:
        settings = Encoder(
            kind="endpoint", model="toy", base_url=server.url, api_key_variable="TOY_KEY"
        )
        EndpointEncoder.load(settings, "").encode(TEXTS[:1])
    assert server.calls[0].authorization == "Bearer sk-of-the-worker"


def test_the_identity_is_model_and_address(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = Encoder(kind="endpoint", model="toy", base_url="http://localhost:1/v1", batch_size=9)
    assert EndpointEncoder.identity(settings) == {
        "kind": "endpoint",
        "model": "toy",
        "base_url": "http://localhost:1/v1",
    }
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY is empty"):
        EndpointEncoder.identity(Encoder(kind="endpoint", model="toy"))


def test_a_response_without_usage_counts_no_tokens():
    response = read_response({"data": [{"index": 0, "embedding": [1, 2.5]}]}, 1)
    assert response.tokens == 0 and response.vectors.tolist() == [[1.0, 2.5]]
