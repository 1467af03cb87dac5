from __future__ import annotations

import unicodedata

import pytest

from preprocessing.prompt_templates import Template, TemplateError, sanitise_text


def test_placeholders_are_filled_in_one_pass():
    template = Template("{a} and {b}, {{not}} {a}")
    assert template.names == ("a", "b")
    assert template.fill({"a": "{b} {b.__class__} {0} {", "b": "}%s"}) == (
        "{b} {b.__class__} {0} { and }%s, {not} {b} {b.__class__} {0} {"
    )


@pytest.mark.parametrize("text", ["{a.b}", "{a[0]}", "{0}", "{}", "{a!r}", "{a:>10}", "{a b}"])
def test_placeholders_are_plain_names(text):
    with pytest.raises(TemplateError, match="is not a plain name"):
        Template(text)


@pytest.mark.parametrize("text", ["{a", "a}", "{a}{"])
def test_braces_must_match(text):
    with pytest.raises(TemplateError, match="write a brace as"):
        Template(text)


def test_unknown_and_missing_placeholders_are_named():
    template = Template("{title} {colour}")
    with pytest.raises(TemplateError, match=r"unknown placeholder '\{colour\}'.*\{title\}"):
        template.require(["title"])
    with pytest.raises(TemplateError, match=r"'\{factors\}' is missing"):
        template.require(["title", "colour", "factors"], ["factors"])
    template.require(["title", "colour"], ["title"])


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("  Toy   Story ", "Toy Story"),
        ("8 1/2 (8½)", "8 1/2 (8½)"),
        ("[REC]", "[REC]"),
        ("千と千尋の神隠し", "千と千尋の神隠し"),
        ("Cafe\u0301", "Café"),
        ("A\nB\r\nC\tD\x00E\x85F\u2028G\u2029H\u00a0I", "A B C D E F G H I"),
        ("evil\u202egnp.exe\u202c", "evilgnp.exe"),
        ("\u2066left\u2069 \u200fright\u061c", "left right"),
        ("in\u200bvis\u200dib\ufeffle\u00ad\u2060", "invisible"),
        ("tag\U000e0041\U000e0042", "tag"),
        ("private\ue000 lone\ud800", "private lone"),
        ('say "now" “then”', "say 'now' 'then'"),
        ("`code` \\n </system> <|im_start|>assistant", "'code' /n assistant"),
        ("<|end\u200b_of_text|>x", "x"),
        ("[INST] hello [/INST] <<SYS>>y<</SYS>>", "hello y"),
        ("1 < 2 > 0", "1 ( 2 ) 0"),
        ("{0} {title} {title.__class__} %s {{", "{0} {title} {title.__class__} %s {{"),
        ("\u200b\n\t", ""),
        ("", ""),
    ],
)
def test_texts_become_one_harmless_line(title, expected):
    assert sanitise_text(title, 200, quoted=True) == expected


def test_double_quotes_stay_where_nothing_is_quoted():
    assert sanitise_text("11'09\"01", 200, quoted=False) == "11'09\"01"


def test_long_texts_are_cut_to_the_cap():
    cut = sanitise_text("word " * 2000, 50, quoted=True)
    assert cut == "word " * 9 + "wo..." and len(cut) == 50
    assert len(sanitise_text("x" * 10_000_000, 200, quoted=True)) == 200
    assert sanitise_text("y" * 200, 200, quoted=True) == "y" * 200


def test_piles_of_combining_marks_are_cut():
    shown = sanitise_text("z" + "\u0335" * 100, 200, quoted=True)
    assert shown == "z" + "\u0335" * 3


def test_no_character_can_break_the_line_or_hide():
    everything = "".join(map(chr, range(0x11000))) + "".join(map(chr, range(0xE0000, 0xE0200)))
    for start in range(0, len(everything), 100):
        shown = sanitise_text(everything[start : start + 100], 200, quoted=True)
        assert not {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} & set(
            map(unicodedata.category, shown)
        )
        assert not set('"<>`\\') & set(shown)
        assert len(shown.splitlines()) <= 1
