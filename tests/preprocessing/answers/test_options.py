from __future__ import annotations

import pytest

from configs.command_line import TeachingParser, section_of
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.options import (
    add_answer_options,
    add_quality_options,
    formats_help,
    quality_help,
)


def test_files_and_how_to_read_them():
    parser = TeachingParser()
    add_answer_options(parser)
    plain = parser.parse_args(["a", "b"])
    assert (plain.files, plain.format, plain.extraction, plain.strict) == (
        ["a", "b"], "auto", None, False,
    )  # fmt: skip
    full = parser.parse_args("--format klg --extraction collective --strict a".split())
    assert (full.format, full.extraction, full.strict) == ("klg", "collective", True)
    for wrong in ([], ["--format", "xml", "a"], ["--extraction", "both", "a"]):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)


def test_the_help_names_every_format():
    text = formats_help()
    for name in ("records", "openai-batch", "openai-chat", "klg", "id-text"):
        assert f"  {name} " in text


def test_files_may_be_optional():
    parser = TeachingParser()
    add_answer_options(parser, files_needed=False)
    assert parser.parse_args([]).files == []


@pytest.fixture
def parser() -> TeachingParser:
    parser = TeachingParser()
    add_quality_options(parser)
    return parser


def test_defaults_are_those_of_the_checks(parser):
    assert section_of(parser.parse_args([]), Thresholds) == Thresholds()


def test_every_threshold_has_an_option(parser):
    wanted = Thresholds(
        form="names",
        minimum_characters=1,
        maximum_characters=2,
        truncation="strict",
        language="en",
        maximum_echo=0.25,
        maximum_repetition=0.75,
        maximum_bad_characters=3,
        maximum_placeholders=4,
        allow_duplicates=True,
    )
    line = (
        "--form names --minimum-characters 1 --maximum-characters 2 --truncation strict "
        "--language en --maximum-echo 0.25 --maximum-repetition 0.75 --maximum-bad-characters 3 "
        "--maximum-placeholders 4 --allow-duplicates"
    )
    assert section_of(parser.parse_args(line.split()), Thresholds) == wanted
    for name, field in Thresholds.model_fields.items():
        assert getattr(wanted, name) != field.default, name


@pytest.mark.parametrize(
    "line",
    [
        "--minimum-characters -1",
        "--minimum-characters 1.5",
        "--maximum-echo 1.1",
        "--maximum-echo nan",
        "--maximum-repetition much",
        "--language de",
    ],
)
def test_values_out_of_range_are_refused(parser, capsys, line):
    with pytest.raises(SystemExit) as raised:
        parser.parse_args(line.split())
    assert raised.value.code == 2 and line.split()[0] in capsys.readouterr().err


def test_the_help_names_every_check():
    text = quality_help()
    for reason in ("truncated", "refusal", "prompt_echo", "duplicate_answer", "wrong_language"):
        assert f"  {reason} " in text
