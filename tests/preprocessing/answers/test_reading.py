from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.command_line import CommandError
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import FORMATS, Expected
from preprocessing.answers.reading import AnswerFile, SourceReader, choose_formats, examine
from preprocessing.answers.record import (
    QUALITY_REASONS,
    RECORD_REASONS,
    Answer,
    Location,
    RejectedAnswer,
)
from preprocessing.inputs import bounded_lines
from preprocessing.records.forgotten import NOTHING_FORGOTTEN
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
            (outcome.location.line, outcome.entity_id)
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


@pytest.mark.parametrize("name", ["records", "openai-batch", "openai-chat"])
def test_rows_of_parquet_are_lines(tmp_path, name):
    documents = [*DOCUMENTS[name], {"entity_id": "9", "answer": None}]
    lines = write(tmp_path / "file", documents)
    rows = str(tmp_path / "file.parquet")
    pq.write_table(pa.Table.from_pylist(documents, _schema(documents)), rows, row_group_size=2)
    assert choose_formats([rows], "auto") == [name]
    assert outcomes([rows], [name]) == outcomes([lines], [name])
    answers = [
        [answer for answer in examine([path], [name], ITEM, Thresholds()) if type(answer) is Answer]
        for path in (rows, lines)
    ]
    assert len(answers[0]) == len(TEXTS)
    for row, line in zip(*answers, strict=True):
        assert replace(row, location=line.location) == line


def _schema(documents):
    """All fields of all documents; Arrow by itself takes those of the first."""
    return pa.unify_schemas(
        [pa.Table.from_pylist([one]).schema for one in documents], promote_options="permissive"
    )


def test_what_is_no_file_of_answers_in_parquet(tmp_path):
    path = tmp_path / "file.parquet"
    path.write_bytes(b"{}")
    with pytest.raises(CommandError, match="file.parquet: not a Parquet file"):
        choose_formats([str(path)], "auto")
    pq.write_table(pa.table({"entity_id": [b"1"], "answer": ["text"]}), path)
    with pytest.raises(CommandError, match="a column holds neither text.*bytes.*leave it out"):
        choose_formats([str(path)], "auto")
    pq.write_table(pa.table({"id": ["1"]}), path)
    with pytest.raises(CommandError, match="has no format known here"):
        choose_formats([str(path)], "auto")


def test_damage_in_parquet_is_said_with_the_file(tmp_path):
    path = tmp_path / "file.parquet"
    table = pa.table({"entity_id": [str(number) for number in range(200)]})
    pq.write_table(table, path, compression="none", use_dictionary=False)
    sound = path.read_bytes()
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    not_utf8 = bytearray(sound)
    not_utf8[sound.index(b"199")] = 0xFF
    for damaged in (
        sound[: len(sound) // 2] + sound[len(sound) // 2 + 7 :],
        sound[:start] + b"\xff" * 20 + sound[start + 20 :],
        bytes(not_utf8),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CommandError, match=r"file\.parquet: not a Parquet file, or a damaged"):
            list(bounded_lines(str(path)))
    with pytest.raises(FileNotFoundError):
        list(bounded_lines(str(tmp_path / "other.parquet")))


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
ENTITIES = st.sampled_from(["1", "2", "3", "first", "", "a\nb", "x" * 600])
ANSWERS = st.sampled_from(
    [
        *TEXTS.values(),
        *("", "As an AI, I cannot describe it.", "word " * 40 + ".", "Film 1 is about the"),
        *("Damaged caf\ufffd number 1.", "half \ud800 a pair"),
    ]
)
LINES = st.one_of(
    st.builds(record, ENTITIES, ANSWERS, source=st.sampled_from(["item", "user"])),
    st.builds(batch_line, ENTITIES.map("item/{}".format), ANSWERS | st.none()),
    st.builds(completion, ANSWERS | st.none(), prompt=ENTITIES),
)
"""Lines of the three formats of lines."""


@st.composite
def broken_lines(draw: st.DrawFn) -> Any:
    """A line of which a field holds something else, or is missing."""
    line = draw(LINES)
    name = draw(
        st.sampled_from([*line, "prompt", "usage", "factors", "interactions_seen", "error"])
    )
    if draw(st.booleans()):
        return {**line, name: draw(JSON)}
    return {field: value for field, value in line.items() if field != name}


BYTES = st.binary(max_size=12).map(lambda line: line.replace(b"\n", b" "))
ANY_LINES = st.lists(LINES | broken_lines() | JSON | BYTES, max_size=12)
OBJECTS = st.dictionaries(ENTITIES, ANSWERS | broken_lines() | JSON, max_size=8)


@given(st.data(), st.sampled_from(sorted(FORMATS)))
def test_every_record_is_accepted_or_rejected_once(tmp_path_factory, data, name) -> None:
    is_line_format = isinstance(DOCUMENTS[name], list)
    document = data.draw(ANY_LINES if is_line_format else OBJECTS)
    path = tmp_path_factory.mktemp("answers") / "file"
    write(path, document)
    lines = path.read_bytes().split(b"\n") if is_line_format else list(document)
    try:
        actual = list(examine([str(path)], [name], ITEM, Thresholds()))
    except CommandError as error:
        assert str(path) in str(error)
        assert not is_line_format or not any(isinstance(line, dict) for line in document)
        return
    answers = [outcome for outcome in actual if isinstance(outcome, Answer)]
    letters = [outcome for outcome in actual if not isinstance(outcome, Answer)]
    assert [
        outcome.location.line if isinstance(outcome, Answer) else outcome["line"]
        for outcome in actual
    ] == [
        number for number, line in enumerate(lines, start=1) if not is_line_format or line.strip()
    ]
    known = (*RECORD_REASONS, *QUALITY_REASONS, "http_")
    assert all(letter["reason"].startswith(known) and letter["detail"] for letter in letters)
    asked = [(answer.extraction, answer.entity_id) for answer in answers]
    assert len(set(asked)) == len(asked) and all(entity.strip() for _, entity in asked)
    assert all(answer.source == "item" and answer.text.strip() for answer in answers)


OTHERS = frozenset({"user"})


def elsewhere(record: dict | None, extraction: str, has_both: bool = False) -> bool:
    """Whether a reader leaves the line to somebody else."""
    line = b"no JSON" if record is None else json.dumps(record).encode()
    reader = SourceReader("item", "item", OTHERS, NOTHING_FORGOTTEN)
    try:
        return reader.answer(line, 1, AnswerFile(0, "a", "/a", extraction, has_both)) is None
    except RejectedAnswer:
        return False


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"source": "user"}, True),
        ({"source": "item", "extraction": "collective"}, False),
        ({"source": "film"}, False),
        ({"source": ["user"]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_configured_sources_are_others(record, expected):
    assert elsewhere(record, "individual") is expected


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"source": "item", "extraction": "individual"},
        {"source": "item", "extraction": "collective"},
        {"source": "film", "extraction": "collective"},
        {"source": "item", "extraction": 3},
    ],
)
def test_of_two_readings_one_is_in_charge_of_each_line(record):
    readings = [elsewhere(record, name, True) for name in ("individual", "collective")]
    says_collective = record is not None and record.get("extraction") == "collective"
    assert readings == [says_collective, not says_collective]


def test_an_answer_of_a_source_says_where_it_was_read():
    line = json.dumps(record("318", "A prison drama.")).encode()
    reader = SourceReader("item", "item", OTHERS, NOTHING_FORGOTTEN)
    answer = reader.answer(line, 7, AnswerFile(2, "a.jsonl", "/a.jsonl", "individual"))
    assert answer is not None and answer.entity_id == "318"
    assert answer.location == Location("a.jsonl", 7, 2)
