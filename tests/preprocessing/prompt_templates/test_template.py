from __future__ import annotations

import pytest

from preprocessing.prompt_templates.template import Template, TemplateError


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
