from __future__ import annotations

from preprocessing.answers.record import Answer, Location
from preprocessing.knowledge.accepting import accepted_file, entity_shard, first_answers


def answer(entity: str, file_order: int, line: int, extraction: str = "individual") -> Answer:
    place = Location(f"file{file_order}", line, file_order)
    return Answer("item", entity, extraction, "text", location=place)


def test_the_first_answer_of_the_first_file_counts():
    answers = [
        answer("a", 1, 1), answer("a", 0, 9), answer("a", 0, 3), answer("b", 1, 2),
        answer("a", 2, 1, "collective"),
    ]  # fmt: skip
    accepted, dead_letters = first_answers(answers)
    firsts = [answers[4], answers[2], answers[3]]
    assert accepted == firsts
    assert [first.location for first in accepted] == [first.location for first in firsts]
    assert [(letter["file"], letter["line"], letter["detail"]) for letter in dead_letters] == [
        ("file0", 9, "same entity as line 3 of file0"),
        ("file1", 1, "same entity as line 3 of file0"),
    ]
    assert first_answers([]) == ([], [])


def test_entities_spread_over_the_shards_and_stay_there():
    shards = [entity_shard(str(entity), 4) for entity in range(400)]
    assert [shards.count(shard) > 60 for shard in range(4)] == [True] * 4
    # blake2b-64 of the id under the key "knowledge", written down once
    assert [entity_shard(entity, 1000) for entity in ("1", "318", "Größe")] == [897, 591, 828]
    assert accepted_file("gs://bucket/x", 3) == "gs://bucket/x/accepted-00003.jsonl"
