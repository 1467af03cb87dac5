"""Pieces of HTML; every text that comes in is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from trainer.report.table import Table


def html_table(table: Table) -> str:
    """A table; where the first column has a new name, a line sets the rows apart."""
    head = "".join(
        f'<th scope="col"{_class_of(table, column)}>{escape(text)}</th>'
        for column, text in enumerate(table.header)
    )
    body = []
    for number, row in enumerate(table.rows):
        starts = number > 0 and row[0] != table.rows[number - 1][0] and table.text_columns > 1
        cells = "".join(
            f"<td{_class_of(table, column)}>{escape(text)}</td>" for column, text in enumerate(row)
        )
        body.append(f'<tr class="first-of-group">{cells}</tr>' if starts else f"<tr>{cells}</tr>")
    return (
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody></table>"
    )


def html_definitions(entries: Sequence[tuple[str, str]]) -> str:
    """A list of terms and their descriptions."""
    lines = (f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in entries)
    return "<dl>\n" + "\n".join(lines) + "\n</dl>"


def html_list(texts: Sequence[str]) -> str:
    """A bulleted list."""
    return "<ul>\n" + "\n".join(f"<li>{escape(text)}</li>" for text in texts) + "\n</ul>"


def html_figure(source: str, description: str, caption: str) -> str:
    """An image with its text alternative and a caption."""
    return (
        f'<figure><img src="{escape(source)}" alt="{escape(description)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def html_paragraph(text: str, kind: str = "") -> str:
    """A paragraph, with a class if `kind` is given."""
    opening = f'<p class="{escape(kind)}">' if kind else "<p>"
    return f"{opening}{escape(text)}</p>"


def _class_of(table: Table, column: int) -> str:
    return ' class="name"' if column < table.text_columns else ""
