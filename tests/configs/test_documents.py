from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from configs.documents import render

EVIL = "<script>&\"'"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_values_in_html_are_escaped_in_texts_attributes_and_macros(tmp_path: Path) -> None:
    text = (
        "{% macro item(value) %}<li>{{ value }}</li>{% endmacro %}"
        '<p class="{{ one }}">{{ one }}</p>{% for value in all %}{{ item(value) }}{% endfor %}'
    )
    html = render(written(tmp_path, "page.html.jinja", text), {"one": EVIL, "all": [EVIL]})
    assert EVIL not in html and "<script" not in html and '&"' not in html
    assert unescape(html) == f'<p class="{EVIL}">{EVIL}</p><li>{EVIL}</li>'


def test_markdown_is_as_it_is_but_for_cells(tmp_path: Path) -> None:
    template = written(tmp_path, "card.md.jinja", "{{ text }}\n| {{ text | cell }} |\n")
    assert render(template, {"text": "a|b <i>\n c"}) == "a|b <i>\n c\n| a\\|b <i> c |\n"


def test_lines_of_a_block_alone_leave_nothing_behind(tmp_path: Path) -> None:
    template = written(
        tmp_path,
        "a.md.jinja",
        "{% for n in some %}\n  {% if n %}\n{{ n | twice }}\n  {% endif %}\n{% endfor %}\n",
    )
    assert render(template, {"some": [0, 1, 2]}, {"twice": lambda n: 2 * n}) == "2\n4\n"


def test_a_value_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="'missing' is undefined"):
        render(written(tmp_path, "a.md.jinja", "{{ missing }}"), {})
