from __future__ import annotations

import hashlib

import pytest

from preprocessing.answers.completion import ChatResponse, Usage
from preprocessing.generation.answer_store import Acceptance, AnswerStore
from preprocessing.generation.plan import Survey, pending_requests, survey

ACCEPTANCE = Acceptance(None, keep_truncated=False, attempts_per_answer=2)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def store(tmp_path, parameters):
    with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
        yield store


def test_equal_texts_are_asked_once_and_known_ones_not_at_all(store, prompt_file, parameters):
    prompts = prompt_file(["new", "known", "new", "blank", "waits", "other"])
    store.save([(sha("known"), ChatResponse("yes", "stop", None, Usage(1, 1)))])
    store.save([(sha("blank"), ChatResponse("", "stop", None, Usage(1, 1)))])
    store.add_batch_requests("file", [(sha("waits"), 3)])
    with open(prompts, "a") as file:
        file.write("{\n")
    requests = list(pending_requests(prompts, store, ACCEPTANCE))
    assert [request.prompt for request in requests] == ["new", "blank", "other"]
    assert [request.prompt_sha256 for request in requests] == [
        sha("new"), sha("blank"), sha("other"),
    ]  # fmt: skip
    # 1 + 4, 2 + 4 and 2 + 4 estimated tokens
    assert survey(prompts, store, ACCEPTANCE, parameters) == Survey(
        prompts=6, dead_letters=1, distinct=5, waiting=1, calls=3, prompt_tokens=17
    )


def test_more_prompts_than_one_lookup_keep_their_order(store, prompt_file):
    texts = [f"film {number}" for number in range(1203)]
    store.save([(sha(text), ChatResponse("x", None, None, Usage(1, 1))) for text in texts[::2]])
    requests = pending_requests(prompt_file(texts), store, ACCEPTANCE)
    assert [request.prompt for request in requests] == texts[1::2]
