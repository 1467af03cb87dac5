from __future__ import annotations

import json

import pytest

from preprocessing.answers.completion import Usage
from preprocessing.answers.record import prompt_sha256
from preprocessing.generation.answer_store import AnswerStore
from preprocessing.generation.chat import ChatRequest
from preprocessing.generation.replay import ANY_MODEL, ReplayClient


def record(prompt: str, answer: str, **more: object) -> dict:
    return {"source": "item", "entity_id": "1", "extraction": "individual", "model": "m",
            "prompt": prompt, "answer": answer, **more}  # fmt: skip


@pytest.fixture
def replay(tmp_path, parameters):
    def answer(records, prompts, model=ANY_MODEL):
        path = tmp_path / "answers.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in records))
        requests = [ChatRequest(prompt, prompt_sha256(prompt)) for prompt in prompts]
        with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
            report = ReplayClient((str(path),), model).answer(iter(requests), store)
            collected = store.answers([prompt_sha256(prompt) for prompt in prompts])
        return report, {prompt: collected.get(prompt_sha256(prompt)) for prompt in prompts}

    return answer


def test_the_first_answer_to_a_prompt_counts_and_costs_nothing(replay):
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "estimated": True}
    records = [
        record("Jaws?", "A shark.", usage=usage),
        record("Jaws?", "A second shark."),
        record("Heat?", "A heist."),
        {"source": "item"},
    ]
    report, actual = replay(records, ["Jaws?", "Alien?"])
    assert actual["Alien?"] is None and actual["Jaws?"].text == "A shark."
    assert actual["Jaws?"].usage == Usage(4, 2, estimated=True) and actual["Jaws?"].calls == 0
    assert report.calls == report.prompt_tokens == 0
    assert report.details == {"replay": {"read": 4, "taken": 1, "not_needed": 2, "rejected": 1}}
    assert [letter["reason"] for letter in report.dead_letters] == ["missing_field"]


def test_answers_of_one_model_alone(replay):
    records = [record("Jaws?", "other", model="n"), record("Jaws?", "mine")]
    _, actual = replay(records, ["Jaws?"], model="m")
    assert actual["Jaws?"].text == "mine"


def test_a_hash_stands_for_its_prompt(replay):
    line = record("", "A shark.", prompt_sha256=prompt_sha256("Jaws?").upper())
    del line["prompt"]
    _, actual = replay([line], ["Jaws?"])
    assert actual["Jaws?"].usage == Usage(2, 2, estimated=True)


def test_structured_and_truncated_answers_come_back_as_they_were(replay):
    records = [
        record("Jaws?", "genre: horror", factors={"genre": "horror"}),
        record("Heat?", "A hei", finish_reason="length"),
    ]
    _, actual = replay(records, ["Jaws?", "Heat?"])
    assert json.loads(actual["Jaws?"].text) == {"genre": "horror"}
    assert actual["Heat?"].finish_reason == "length"


@pytest.mark.parametrize(
    "odd",
    [{"finish_reason": "\ud800"}, {"finish_reason": 3}, {"factors": {"genre": "\ud800"}}],
)
def test_one_odd_record_never_ends_a_replay(replay, odd):
    report, actual = replay([record("Jaws?", "x", **odd), record("Jaws?", "A shark.")], ["Jaws?"])
    assert actual["Jaws?"].text == "A shark." and len(report.dead_letters) == 1
