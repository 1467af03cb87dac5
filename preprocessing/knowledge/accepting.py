"""First pipeline of the step `encode`: answer files to accepted answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from preprocessing import storage
from preprocessing.answers.checks import Duplicates
from preprocessing.answers.reading import AnswerFile, SourceReader
from preprocessing.answers.record import (
    Answer,
    Location,
    RejectedAnswer,
    batched_lines,
)
from preprocessing.answers.texts import AnswerTexts
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS, GatherDeadLetters, gather_statistics
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.records.hashing import stable_hash

Lines = list[tuple[int, bytes]]
"""Line numbers and lines."""


def _lines_of(file: AnswerFile) -> Iterable[tuple[AnswerFile, Lines]]:
    """Answer file to batches of lines."""
    for lines in batched_lines(file.path):
        yield file, lines


def _checked_answers(
    element: tuple[AnswerFile, Lines],
    reader: SourceReader,
    texts: AnswerTexts,
    shards: int,
) -> Iterator[Any]:
    """Batch of lines to (shard, valid answers), dead letters beside them."""
    file, lines = element
    by_shard: dict[int, list[Answer]] = {}
    dead_letters: list[DeadLetter] = []
    read = elsewhere = 0
    for number, line in lines:
        read += 1
        try:
            answer = reader.answer(line, number, file)
            if answer is None:
                elsewhere += 1
                continue
            answer = texts.to_encode(answer)
        except RejectedAnswer as error:
            dead_letters.append(dead_letter(file.name, number, error.reason, error.detail))
            continue
        by_shard.setdefault(entity_shard(answer.entity_id, shards), []).append(answer)
    yield beam.pvalue.TaggedOutput(STATISTICS, {"read": read, "other_sources": elsewhere})
    yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
    yield from by_shard.items()


def _written_accepted(element: tuple[int, Iterable[list[Answer]]], folder: str) -> Iterator[Any]:
    """All valid answers of a shard to a file, each entity once."""
    shard, batches = element
    accepted, dead_letters = first_answers(answer for batch in batches for answer in batch)
    yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
    write_accepted(accepted_file(folder, shard), accepted)
    lacking = sum(answer.lacks_history for answer in accepted)
    yield {"accepted": len(accepted), "answers_without_history": lacking}


def first_answers(answers: Iterable[Answer]) -> tuple[list[Answer], list[DeadLetter]]:
    """The first answer for each entity and extraction; later ones become dead letters."""
    accepted: list[Answer] = []
    dead_letters: list[DeadLetter] = []
    duplicates = Duplicates()
    for answer in sorted(answers, key=_by_entity):
        location = answer.location
        try:
            duplicates.add(answer)
        except RejectedAnswer as error:
            dead_letters.append(
                dead_letter(location.file, location.line, error.reason, error.detail)
            )
        else:
            accepted.append(answer)
    return accepted, dead_letters


def _by_entity(answer: Answer) -> tuple[str, str, int, int]:
    return answer.extraction, answer.entity_id, answer.location.file_order, answer.location.line


def build_accepting_pipeline(
    pipeline: beam.Pipeline,
    reader: SourceReader,
    texts: AnswerTexts,
    files: list[AnswerFile],
    shards: int,
    folder: str,
    dead_letters_path: str,
    statistics_path: str,
) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      reader: takes the source's answers out of their files.
      texts: takes the text to encode out of an answer.
      files: the source's answer files.
      shards: number of files of accepted answers.
      folder: where those files belong; a path or URL that all workers see.
      dead_letters_path: JSON lines file for rejected answers.
      statistics_path: JSON file for counts "read", "other_sources", "accepted" and
        "answers_without_history".
    """
    checked = (
        pipeline
        | "AnswerFiles" >> beam.Create(files)
        | "ReadAnswers" >> beam.FlatMap(_lines_of)
        | "SpreadLines" >> beam.Reshuffle()  # one file is one element: let all workers check
        | "CheckAnswers"
        >> beam.FlatMap(_checked_answers, reader, texts, shards).with_outputs(
            STATISTICS, DEAD_LETTERS, main="answers"
        )
    )
    nothing = (
        pipeline
        | "AllShards" >> beam.Create(range(shards), reshuffle=False)
        | "NoAnswers" >> beam.Map(lambda shard: (shard, []))
    )
    accepted = (
        (checked["answers"], nothing)
        | "Answers" >> beam.Flatten()
        | "ByShard" >> beam.GroupByKey()
        | "WriteAccepted"
        >> beam.FlatMap(_written_accepted, folder).with_outputs(DEAD_LETTERS, main="counts")
    )
    dead_letters = (checked[DEAD_LETTERS], accepted[DEAD_LETTERS])
    dead_letters | "DeadLetters" >> GatherDeadLetters(dead_letters_path)
    statistics = (checked[STATISTICS], accepted["counts"])
    statistics | "Statistics" >> gather_statistics(statistics_path)


def entity_shard(entity_id: str, shards: int) -> int:
    """Shard of an entity's record."""
    return stable_hash(entity_id, "knowledge") % shards


def accepted_file(folder: str, shard: int) -> str:
    """File with the accepted answers of a shard."""
    return storage.join(folder, f"accepted-{shard:05d}.jsonl")


def write_accepted(path: str, answers: Iterable[Answer]) -> None:
    """Writes a file of accepted answers."""
    with storage.create_bytes(path) as file:
        for answer in answers:
            fields = (answer.source, answer.entity_id, answer.extraction, answer.text)
            file.write(json.dumps([*fields, answer.location]).encode() + b"\n")


def read_accepted(path: str) -> Iterator[Answer]:
    """Reads a file of accepted answers."""
    with storage.open_bytes(path) as file:
        for line in file:
            source, entity_id, extraction, text, location = json.loads(line)
            yield Answer(source, entity_id, extraction, text, location=Location(*location))
