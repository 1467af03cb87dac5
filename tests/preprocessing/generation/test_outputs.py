from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from preprocessing.answers.completion import ChatResponse, Usage
from preprocessing.answers.record import parse_answer
from preprocessing.dead_letters import dead_letter
from preprocessing.generation.answer_store import Acceptance, AnswerStore, Rejection
from preprocessing.generation.outputs import OutputFolder, Survey, pending_requests, survey
from tests.preprocessing.answers.small_files import read_lines

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
    # 1 + 4, 2 + 4 and 2 + 4 estimated tokens; what was answered with nothing has one call less.
    expected = Survey(
        prompts=6,
        dead_letters=1,
        distinct=5,
        waiting=1,
        calls=3,
        prompt_tokens=17,
        most_usage=Usage(2 * 5 + 6 + 2 * 6, 5 * 20, estimated=True),
    )
    assert survey(prompts, store, ACCEPTANCE, parameters, calls_per_prompt=2) == expected
    once = replace(expected, most_usage=Usage(17, 3 * 20, estimated=True))
    assert survey(prompts, store, ACCEPTANCE, parameters, calls_per_prompt=1) == once


def test_more_prompts_than_one_lookup_keep_their_order(store, prompt_file):
    texts = [f"film {number}" for number in range(1203)]
    store.save([(sha(text), ChatResponse("x", None, None, Usage(1, 1))) for text in texts[::2]])
    requests = pending_requests(prompt_file(texts), store, ACCEPTANCE)
    assert [request.prompt for request in requests] == texts[1::2]


def test_every_prompt_is_counted_once_and_answers_are_what_encode_reads(
    tmp_path, parameters, prompt_file
):
    prompts = prompt_file(["answered", "cut", "failed", "nobody asked", "answered"])
    out = OutputFolder(tmp_path / "out")
    with AnswerStore(out.store, parameters) as store:
        store.save(
            [
                (sha("answered"), ChatResponse("Noir, é\u2028", "stop", "m-2", Usage(3, 2))),
                (sha("cut"), ChatResponse("No", "length", "m-2", Usage(3, 2))),
            ]
        )
        counts = out.write_answers(
            prompts,
            store,
            Acceptance(None, keep_truncated=False, attempts_per_answer=1),
            {sha("failed"): Rejection("timeout", "late"), sha("answered"): Rejection("x", "old")},
            [dead_letter("other file", 7, "unknown_request", "")],
            model=None,
        )
    assert counts.as_dictionary() == {
        "read": 5,
        "answered": 2,
        "rejected": 2,
        "not_attempted": 1,
        "waiting_for_batch": 0,
        "rejected_by_reason": {"timeout": 1, "truncated": 1},
        "models": {"m-2": 2},
        "names": None,
    }
    letters = [(letter["line"], letter["reason"]) for letter in read_lines(out.dead_letters)]
    assert sorted(letters) == [(2, "truncated"), (3, "timeout"), (7, "unknown_request")]
    lines = out.answers.read_bytes().splitlines()
    answers = [parse_answer(line, "item", "individual") for line in lines]
    assert [(answer.entity_id, answer.text, answer.model) for answer in answers] == [
        ("0", "Noir, é\u2028", "m-2"),
        ("4", "Noir, é\u2028", "m-2"),
    ]
    assert sorted(path.name for path in out.path.iterdir()) == [
        "answer_store.sqlite", "answers.jsonl", "dead_letters.jsonl",
    ]  # fmt: skip


def test_a_bad_answer_that_is_asked_for_again_waits(tmp_path, parameters, prompt_file):
    prompts = prompt_file(["blank", "late"])
    out = OutputFolder(tmp_path / "out")
    with AnswerStore(out.store, parameters) as store:
        store.save([(sha("blank"), ChatResponse("", "stop", None, Usage(3, 0)))])
        store.add_batch_requests("file", [(sha("blank"), 3), (sha("late"), 3)])
        failures = {sha("late"): Rejection("failed_request", "expired")}
        counts = out.write_answers(prompts, store, ACCEPTANCE, failures, [], model=None)
    assert (counts.not_attempted, counts.waiting_for_batch) == (2, 2)
    assert not counts.rejected_by_reason and read_lines(out.dead_letters) == []


def test_what_a_prompt_reached_over_is_carried_into_its_answer(tmp_path, parameters):
    fields = {"source": "user", "extraction": "individual", "prompt": "same"}
    prompts = [
        {**fields, "custom_id": "1", "entity_id": "ann", "interactions_seen": 3},
        {**fields, "custom_id": "2", "entity_id": "bob", "interactions_seen": 7},
        {**fields, "custom_id": "3", "entity_id": "eve"},
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, prompts)))
    out = OutputFolder(tmp_path / "out")
    with AnswerStore(out.store, parameters) as store:
        store.save([(sha("same"), ChatResponse("likes drama", "stop", "m", Usage(3, 2)))])
        acceptance = Acceptance(None, keep_truncated=False, attempts_per_answer=1)
        out.write_answers(str(path), store, acceptance, {}, [], model=None)
    answers = read_lines(out.answers)
    assert [answer.get("interactions_seen", "absent") for answer in answers] == [3, 7, "absent"]


def test_the_summary_is_json_for_people(tmp_path):
    out = OutputFolder(tmp_path / "out")
    out.write_summary({"read": 1})
    assert json.loads(out.summary.read_text()) == {"read": 1}
    assert out.summary.read_text() == '{\n  "read": 1\n}\n'
