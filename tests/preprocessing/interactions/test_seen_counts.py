from __future__ import annotations

import json
import re

from configs.knowledge import SourceAnswers
from preprocessing.interactions.seen_counts import read_seen_counts


def test_matches_of_accepted_prompts_are_counted(tmp_path):
    path = tmp_path / "answers.jsonl"
    fields = {"source": "user", "extraction": "individual", "answer": "text"}
    records = [
        {**fields, "entity_id": "a", "prompt": "x 4 stars; y 3.5 stars; z 1 stars."},
        {**fields, "entity_id": "b", "prompt": "nothing"},
        {**fields, "entity_id": "c"},
        {**fields, "entity_id": "d", "prompt": "x 4 stars;", "prompt_sha256": "wrong"},
    ]
    path.write_text("\n".join(map(json.dumps, records)) + "\nnot json\n")
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({**fields, "entity_id": "a", "prompt": "x 2 stars;"}) + "\n")
    answers = SourceAnswers(entity="user", individual=[str(path), str(more)])
    batches = list(read_seen_counts("user", answers, re.compile(" stars[;.]")))
    assert [tuple(count) for batch in batches for count in batch] == [
        ("user", "a", 0, 1, 3),
        ("user", "b", 0, 2, 0),
        ("user", "c", 0, 3, 0),
        ("user", "a", 1, 1, 1),
    ]


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
    assert batches == [[("user_genre", "a", 0, 1, 2)]]
