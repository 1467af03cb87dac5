from __future__ import annotations

from preprocessing.answers.record import Place
from preprocessing.knowledge.entity_vectors import first_vectors
from preprocessing.knowledge.vectors import KnowledgeRecord


def vector(entity: str, file_order: int, line: int) -> KnowledgeRecord:
    place = Place(f"file{file_order}", line, file_order)
    return KnowledgeRecord(entity, "individual", "", b"\x00<", place)


def test_the_first_vector_of_the_first_file_counts():
    vectors = [vector("a", 1, 1), vector("a", 0, 9), vector("b", 1, 2), vector("a", 0, 3)]
    found, dead_letters = first_vectors(vectors)
    assert found == {"a": vectors[3], "b": vectors[2]}
    assert [(letter["file"], letter["line"], letter["detail"]) for letter in dead_letters] == [
        ("file0", 9, "same entity as record 3 of file0"),
        ("file1", 1, "same entity as record 3 of file0"),
    ]
    assert {letter["reason"] for letter in dead_letters} == {"duplicate_entity"}
