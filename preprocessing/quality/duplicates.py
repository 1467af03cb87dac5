"""Answers that are there already: for the same entity, or word by word for another one."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from preprocessing.knowledge.answers import Answer, RejectedAnswer
from preprocessing.quality.text import AnswerText

_DIGEST_BYTES = 16


class Place(NamedTuple):
    """Where a record is: file and number of its line or entry."""

    file: str
    line: int


class Duplicates:
    """Remembers accepted answers; the first for an entity, and the first of equal texts, counts.

    Holds some hundred bytes per answer, not its text.

    Args:
      allow_equal_texts: whether two entities may have the same answer.
    """

    def __init__(self, allow_equal_texts: bool = False):
        self._allow_equal_texts = allow_equal_texts
        self._entities: dict[tuple[str, str, str], tuple[Place, bytes]] = {}
        self._texts: dict[bytes, Place] = {}

    def add(self, answer: Answer, text: AnswerText, place: Place) -> None:
        """Remembers an answer.

        Raises:
          RejectedAnswer: it is there already; it is not remembered again.
        """
        digest = normalised_digest(text)
        entity = (answer.source, answer.extraction, answer.entity_id)
        if entity in self._entities:
            first, first_digest = self._entities[entity]
            texts = "the same text" if digest == first_digest else "another text"
            detail = f"same entity as line {first.line} of {first.file}, with {texts}"
            raise RejectedAnswer("duplicate_entity", detail)
        if not self._allow_equal_texts:
            first = self._texts.setdefault(digest, place)
            if first != place:
                detail = f"same text as line {first.line} of {first.file}, for another entity"
                raise RejectedAnswer("duplicate_answer", detail)
        self._entities[entity] = (place, digest)


def normalised_digest(text: AnswerText) -> bytes:
    """Hash of the words, apart from case, punctuation and white space."""
    units = " ".join(text.words) or text.text
    return hashlib.blake2b(units.encode(), digest_size=_DIGEST_BYTES).digest()
