from __future__ import annotations

import pytest

from configs.command_line import TeachingParser
from preprocessing.answers.options import add_answer_options, formats_help


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
