from __future__ import annotations

import json
import re

import pytest

from configs.knowledge import SourceAnswers
from preprocessing.interactions.seen_counts import (
    SeenCount,
    digest_seen_counts,
    read_seen_counts,
)


def test_matches_of_accepted_prompts_are_counted(tmp_path):
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
    batches = list(read_seen_counts("user", answers, re.compile(" stars[;.]")))
    assert [tuple(count) for batch in batches for count in batch] == [
        ("user", "a", 0, 1, 3, None),
        ("user", "b", 0, 2, 0, 7),
        ("user", "c", 0, 3, 0, None),
        ("user", "a", 1, 1, 1, None),
    ]


@pytest.mark.parametrize(
    ("shown", "recorded", "reach", "certain"),
    [
        (0, None, 0, False),
        (0, 5, 5, False),  # nobody knows what a prompt shows in which nothing is recognised
        (4, None, 4, False),
        (5, None, 5, True),
        (6, None, 6, True),
        (2, 4, 4, True),
        (4, 2, 4, True),
    ],
)
def test_how_far_a_prompt_reaches(shown, recorded, reach, certain):
    count = SeenCount("user", "a", 0, 1, shown, recorded)
    assert (count.reach, count.is_certain(boundary=5)) == (reach, certain)


def test_answers_with_factors_are_counted_for_the_source_of_each_factor(tmp_path):
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
    batches = list(read_seen_counts("user_genre", answers, re.compile(" stars;")))
    assert batches == [[SeenCount("user_genre", "a", 0, 1, shown=2)]]


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
    batches = list(read_seen_counts("user", answers, re.compile(" stars;")))
    assert batches == [[SeenCount("user", "a", 0, 3, shown=2)]]


def test_digests_tell_apart_what_prompts_show_and_nothing_else(tmp_path):
    fields = {"source": "user", "extraction": "individual", "answer": "text"}
    ann = {**fields, "entity_id": "ann", "prompt": "x 4 stars; y 3 stars;"}
    bob = {**fields, "entity_id": "bob", "prompt": "x 4 stars;"}

    def digest(*files: list[dict], pattern: str = " stars;", **described: object) -> str:
        paths = [tmp_path / f"{number}.jsonl" for number in range(len(files))]
        for path, records in zip(paths, files, strict=True):
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        individual = [str(path) for path in paths]
        answers = {"user": SourceAnswers(entity="user", individual=individual, **described)}
        return digest_seen_counts(answers, {"user": re.compile(pattern)})["user"]

    base = digest([ann, bob])
    assert digest([bob, ann]) == base
    assert digest([{**ann, "answer": "other"}, {}, {**bob, "prompt": "z 1 stars;"}]) == base
    others = [
        digest([ann]),
        digest([ann, bob, bob]),
        digest([ann], [bob]),
        digest([bob], [ann]),
        digest([ann, {**bob, "entity_id": "eve"}]),
        digest([ann, {**bob, "prompt": "nothing"}]),
        digest([ann, {**bob, "interactions_seen": 1}]),
        digest([ann, {**bob, "interactions_seen": 0}]),
        digest([ann, bob], pattern="4 stars;"),
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
    digests = digest_seen_counts(answers, dict.fromkeys(answers, re.compile(" stars;")))
    assert digests["user_genre"] == digests["user_mood"] and len(digests) == 2
    none = digest_seen_counts(answers, dict.fromkeys(answers, re.compile(" moons;")))
    assert none["user_genre"] != digests["user_genre"]
