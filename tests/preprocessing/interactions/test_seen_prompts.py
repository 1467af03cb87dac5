from __future__ import annotations

import json

from configs.knowledge import SourceAnswers
from preprocessing.interactions.leak_check import SeenPrompt, digest_seen_prompts, read_seen_prompts


def test_prompts_of_accepted_answers_are_read(tmp_path):
    path = tmp_path / "answers.jsonl"
    fields = {"source": "user", "extraction": "individual", "answer": "text"}
    records = [
        {**fields, "entity_id": "a", "prompt": "x 4 stars; y 3.5 stars; z 1 stars."},
        {**fields, "entity_id": "b", "prompt": "nothing", "interactions_seen": 7},
        {**fields, "entity_id": "c"},
        {**fields, "entity_id": "d", "prompt": "x 4 stars;", "prompt_sha256": "wrong"},
    ]
    path.write_text("\n".join(map(json.dumps, records)) + "\nnot json\n")
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({**fields, "entity_id": "a", "prompt": "x 2 stars;"}) + "\n")
    answers = SourceAnswers(entity="user", individual=[str(path), str(more)])
    batches = list(read_seen_prompts("user", answers))
    assert [tuple(prompt) for batch in batches for prompt in batch] == [
        ("user", "a", 0, 1, records[0]["prompt"], None),
        ("user", "b", 0, 2, "nothing", 7),
        ("user", "c", 0, 3, None, None),
        ("user", "a", 1, 1, "x 2 stars;", None),
    ]


def test_prompts_of_answers_with_factors_are_read_for_the_source_of_each_factor(tmp_path):
    path = tmp_path / "answers.jsonl"
    record = {
        "source": "user",
        "entity_id": "a",
        "extraction": "individual",
        "prompt": "x 4 stars; y 3 stars;",
        "answer": json.dumps({"genre": "likes drama", "mood": "calm"}),
    }
    path.write_text(json.dumps(record) + "\n")
    answers = SourceAnswers(entity="user", individual=[str(path)], factor="genre")
    batches = list(read_seen_prompts("user_genre", answers))
    assert batches == [[SeenPrompt("user_genre", "a", 0, 1, record["prompt"])]]


def test_answers_of_other_sources_in_a_shared_file_are_left_out(tmp_path):
    path = tmp_path / "answers.jsonl"
    fields = {"entity_id": "a", "prompt": "x 4 stars; y 3 stars;", "answer": "text"}
    records = [
        {**fields, "source": "item", "extraction": "individual"},
        {**fields, "source": "user", "extraction": "collective"},
        {**fields, "source": "user", "extraction": "individual"},
        {**fields, "source": "user_liked", "extraction": "individual"},
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    answers = SourceAnswers(
        entity="user", individual=[str(path)], collective=[str(path)], groups="groups.csv"
    )
    batches = list(read_seen_prompts("user", answers))
    assert batches == [[SeenPrompt("user", "a", 0, 3, fields["prompt"])]]


def test_digests_tell_prompts_apart_and_nothing_else(tmp_path):
    fields = {"source": "user", "extraction": "individual", "answer": "text"}
    ann = {**fields, "entity_id": "ann", "prompt": "x 4 stars; y 3 stars;"}
    bob = {**fields, "entity_id": "bob", "prompt": "x 4 stars;"}

    def digest(*files: list[dict], **described: object) -> str:
        paths = [tmp_path / f"{number}.jsonl" for number in range(len(files))]
        for path, records in zip(paths, files, strict=True):
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        individual = [str(path) for path in paths]
        answers = {"user": SourceAnswers(entity="user", individual=individual, **described)}
        return digest_seen_prompts(answers, ["user"])["user"]

    base = digest([ann, bob])
    assert digest([bob, ann]) == base
    assert digest([{**ann, "answer": "other"}, {}, bob]) == base
    others = [
        digest([ann]),
        digest([ann, bob, bob]),
        digest([ann], [bob]),
        digest([bob], [ann]),
        digest([ann, {**bob, "entity_id": "eve"}]),
        digest([ann, {**bob, "prompt": "nothing"}]),
        digest([ann, {**bob, "prompt": "z 4 stars;"}]),
        digest([ann, {**bob, "interactions_seen": 1}]),
        digest([ann, {**bob, "interactions_seen": 0}]),
        digest([]),
    ]
    assert len({base, *others}) == 1 + len(others)


def test_factors_of_the_same_answers_share_a_digest(tmp_path):
    path = tmp_path / "answers.jsonl"
    record = {"source": "user", "entity_id": "a", "extraction": "individual", "answer": "{}"}
    path.write_text(json.dumps({**record, "prompt": "x 4 stars;"}) + "\n")
    answers = {
        f"user_{factor}": SourceAnswers(entity="user", individual=[str(path)], factor=factor)
        for factor in ("genre", "mood")
    }
    digests = digest_seen_prompts(answers, answers)
    assert digests["user_genre"] == digests["user_mood"] and len(digests) == 2
