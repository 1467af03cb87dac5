from __future__ import annotations

import pytest

from preprocessing.answers.checks import AnswerText, Thresholds, bad_encoding

GOOD = "Amélie – “naïve” façade, Søndag, 各自丰富, Ñandú, 5 € ½ 🎬\n\tÂge Ã O ®"


def test_good_texts_of_many_scripts_pass():
    assert bad_encoding(AnswerText(GOOD), Thresholds()) is None


@pytest.mark.parametrize(
    "character", ["é", "ü", "’", "“", "—", "ß", "€", "各", "🎬", "Ã", "\u00a0"]
)
def test_utf8_read_as_windows_1252_or_latin_1_is_found(character):
    data = f"caf{character} noir".encode()
    for text in ("".join(chr(byte) for byte in data), misread(data)):
        assert bad_encoding(AnswerText(text), Thresholds()), ascii(text)


def misread(data: bytes) -> str:
    """Windows-1252 as browsers read it: undefined bytes become control characters."""
    return "".join(
        chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252")
        for byte in data
    )


@pytest.mark.parametrize("character", ["\ufffd", "\x00", "\x1b", "\x7f", "\x85", "\x1f"])
def test_replacement_and_control_characters_are_found(character):
    found = bad_encoding(AnswerText(f"a film {character}"), Thresholds())
    assert found == f"1 damaged characters: {ascii(character)}"


def test_some_may_be_allowed():
    answer = AnswerText("a \ufffd b \ufffd c")
    assert bad_encoding(answer, Thresholds(maximum_bad_characters=1))
    assert bad_encoding(answer, Thresholds(maximum_bad_characters=2)) is None
