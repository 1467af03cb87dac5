from __future__ import annotations

from trainer.report.page import html_definitions, html_figure, html_list, html_paragraph, html_table
from trainer.report.table import Table

EVIL = "<script>&\"'"
HARMLESS = "&lt;script&gt;&amp;&quot;&#x27;"


def test_every_part_escapes_its_texts() -> None:
    parts = [
        html_table(Table((EVIL, "AUC"), [(EVIL, "0.5")], text_columns=1)),
        html_definitions([(EVIL, EVIL)]),
        html_list([EVIL]),
        html_figure(EVIL, EVIL, EVIL),
        html_paragraph(EVIL),
        html_paragraph("text", EVIL),
    ]
    for part in parts:
        assert HARMLESS in part
        assert EVIL not in part


def test_a_table_marks_names_and_groups() -> None:
    table = Table(
        ("Backbone", "Arm", "AUC"),
        [("din", "none", "0.7"), ("din", "hein", "0.8"), ("dcn", "none", "0.6")],
        text_columns=2,
    )
    html = html_table(table)
    assert '<th scope="col" class="name">Arm</th><th scope="col">AUC</th>' in html
    assert '<td class="name">none</td><td>0.7</td>' in html
    assert html.count("<tr") == 4
    assert html.count('<tr class="first-of-group"><td class="name">dcn</td>') == 1
    assert html.count("first-of-group") == 1


def test_a_paragraph_carries_its_kind() -> None:
    assert html_paragraph("text") == "<p>text</p>"
    assert html_paragraph("text", "note") == '<p class="note">text</p>'
