from __future__ import annotations

import random

import pytest

from configs.command_line import CommandError
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import FORMATS, Expected
from preprocessing.answers.reading import choose_formats, examine
from preprocessing.answers.record import QUALITY_REASONS, RECORD_REASONS, Answer
from tests.preprocessing.answers.small_files import (
    DOCUMENTS,
    TEXTS,
    batch_line,
    completion,
    record,
    write,
)

ITEM = Expected("item")


def outcomes(paths, formats, expected=ITEM, **thresholds) -> list[tuple[int, str]]:
    """Line, and entity id or reason, of every record."""
    return [
        (
            (outcome.place.line, outcome.entity_id)
            if isinstance(outcome, Answer)
            else (outcome["line"], outcome["reason"])
        )
        for outcome in examine(paths, formats, expected, Thresholds(**thresholds))
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_answers_come_out_of_every_format(tmp_path, name):
    path = write(tmp_path / "file", DOCUMENTS[name])
    answers = list(examine([path], [name], ITEM, Thresholds()))
    assert {answer.entity_id: answer.text for answer in answers} == TEXTS
    collective = name == "openai-chat"
    assert {answer.extraction for answer in answers} == {
        "collective" if collective else "individual"
    }


def test_a_better_answer_may_follow_a_rejected_one_but_not_an_accepted_one(tmp_path):
    paths = [
        write(
            tmp_path / "first",
            [
                batch_line("item/1", TEXTS["1"], "length"),
                batch_line("item/2", TEXTS["2"]),
                batch_line("item/3", "As an AI, I cannot say."),
            ],
        ),
        write(
            tmp_path / "second",
            [
                record("1", TEXTS["1"]),
                record("2", TEXTS["2"]),
                record("3", TEXTS["1"].upper()),
                record("4", TEXTS["3"]),
            ],
        ),
    ]
    assert outcomes(paths, ["openai-batch", "records"]) == [
        (1, "truncated"),
        (2, "2"),
        (3, "refusal"),
        (1, "1"),
        (2, "duplicate_entity"),
        (3, "duplicate_answer"),
        (4, "4"),
    ]
    assert (3, "3") in outcomes(paths, ["openai-batch", "records"], allow_duplicates=True)


def test_an_id_that_an_object_holds_twice_is_not_lost(tmp_path):
    path = tmp_path / "file"
    path.write_text(f'{{"1": "{TEXTS["1"]}", "1": "{TEXTS["2"]}"}}')
    assert outcomes([str(path)], ["id-text"]) == [(1, "1"), (2, "duplicate_entity")]


def test_files_without_a_source_stand_for_themselves_unless_one_is_given(tmp_path):
    paths = [
        write(tmp_path / "a", {"1": TEXTS["1"]}),
        write(tmp_path / "b", {"1": TEXTS["2"]}),
    ]
    formats = ["id-text"] * 2
    assert outcomes(paths, formats, Expected()) == [(1, "1"), (1, "1")]
    assert outcomes(paths, formats) == [(1, "1"), (1, "duplicate_entity")]


@pytest.mark.parametrize("name", ["records", "openai-batch", "openai-chat"])
def test_a_file_without_any_json_object_fails_as_a_whole(tmp_path, name):
    path = write(tmp_path / "file", [b"", b"not json", b"3"])
    with pytest.raises(CommandError) as raised:
        outcomes([path], [name])
    assert str(path) in str(raised.value) and "line 2" in str(raised.value)
    assert outcomes([write(tmp_path / "empty", [])], [name]) == []


def test_formats_are_told_per_file_and_said(tmp_path, capsys):
    paths = [write(tmp_path / name, DOCUMENTS[name]) for name in FORMATS]
    assert choose_formats(paths, "auto") == list(FORMATS)
    said = capsys.readouterr().err
    assert f"{paths[3]}: klg (JSON object" in said
    assert choose_formats(paths, "klg") == ["klg"] * len(FORMATS)


GOOD_OR_BAD = [
    lambda i: record(f"{i}", f"A film number {i} about friends."),
    lambda i: record(f"{i % 3}", f"Another text {i} for few entities."),
    lambda i: record(f"{i}", "The same text for all of them."),
    lambda i: record(f"{i}", ""),
    lambda i: record(f"{i}", "As an AI, I cannot describe it."),
    lambda i: record(f"{i}", "word " * 40 + "."),
    lambda i: record(f"{i}", f"Film {i} is about the"),
    lambda i: record(f"{i}", f"Damaged caf\ufffd number {i}."),
    lambda i: record(f"{i}", "x", source="user"),
    lambda i: {"entity_id": f"{i}"},
    lambda i: batch_line(f"item/{i}", f"A film number {i} about friends."),
    lambda i: completion(f"A group number {i} of films.", prompt=f"{i}"),
    lambda i: b"{",
    lambda i: b"\xff",
    lambda i: b"[1]",
]


@pytest.mark.parametrize("seed", range(20))
def test_every_record_is_accepted_or_rejected_once(tmp_path, seed):
    generator = random.Random(seed)
    lines = [generator.choice(GOOD_OR_BAD)(i) for i in range(generator.randrange(1, 80))]
    lines.insert(generator.randrange(len(lines) + 1), record("first", "A film to begin with."))
    blank = [generator.randrange(len(lines)) for _ in range(3)]
    for position in blank:
        lines.insert(position, b" ")
    path = write(tmp_path / "file", lines)
    found = outcomes([path], ["records"])
    assert [line for line, _ in found] == [
        number for number, line in enumerate(lines, start=1) if line != b" "
    ]
    reasons = {name for _, name in found if not name.isdigit() and name != "first"}
    assert reasons <= {*RECORD_REASONS, *QUALITY_REASONS}
    accepted = [name for _, name in found if name.isdigit() or name == "first"]
    assert len(accepted) == len(set(accepted)) and "first" in accepted
