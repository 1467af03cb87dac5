"""How an item is named in a prompt: sanitised title and attributes as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from configs.prompting import Prompts
from preprocessing.prompt_templates.prompt_scenario import PromptScenario
from preprocessing.prompt_templates.template import Template, sanitise_text
from preprocessing.records.item_tables import NUMERIC
from preprocessing.records.item_tables import TITLE as _TITLE

_GLUE = ", "


def attribute_texts(values: pa.ChunkedArray) -> list[str]:
    """[rows] values of a parsed attribute as text: 1995 for 1995.0, "Drama, War" for a list.

    Args:
      values: a column that `parse_attribute` made.

    Returns:
      Texts, empty where the attribute is missing.
    """
    if values.type != NUMERIC:
        return list(pc.binary_join(values, _GLUE).to_pylist())
    return [
        "" if number is None or math.isnan(number) else f"{number:.10g}"
        for number in values.to_pylist()
    ]


class TitleDisplay:
    """Turns rows of the catalogue into names for prompts: sanitised and, by default, quoted."""

    def __init__(self, scenario: PromptScenario, attributes: Collection[str], prompts: Prompts):
        """Chooses the displays that the catalogue's attributes allow.

        Args:
          scenario: has `title_display` and `leading_articles`.
          attributes: names of the catalogue's attributes, which may be used beside the title.
          prompts: cap of the length, and whether titles are quoted.
        """
        self._prompts = prompts
        self._displays = [
            template
            for template in map(Template, scenario.title_display)
            if all(name == _TITLE or name in attributes for name in template.names)
        ]
        articles = "|".join(re.escape(article) for article in scenario.leading_articles)
        self._late_article = (
            re.compile(rf"([^()]+), ({articles})((?: \(.*)?)", re.DOTALL) if articles else None
        )

    def of_table(self, table: pa.Table) -> Iterator[str]:
        """Names of the items of a table of `parse_catalogue`; empty for an item without title."""
        columns = {_TITLE: table[_TITLE].to_pylist()}
        for name in {name for display in self._displays for name in display.names} - {_TITLE}:
            columns[name] = attribute_texts(table[name])
        for values in zip(*columns.values(), strict=True):
            yield self.of_item(dict(zip(columns, values, strict=True)))

    def of_item(self, values: dict[str, str]) -> str:
        """Name of one item.

        Args:
          values: texts of the title and the attributes.

        Returns:
          The name, empty if there is no title.
        """
        cap, quoted = self._prompts.title_characters, self._prompts.delimit_titles
        clean = {name: sanitise_text(text, cap, quoted) for name, text in values.items()}
        if not clean[_TITLE]:
            return ""
        clean[_TITLE] = self._article_first(clean[_TITLE])
        display = next(
            display for display in self._displays if all(clean[name] for name in display.names)
        )
        shown = sanitise_text(display.fill(clean), cap, quoted)
        return f'"{shown}"' if quoted else shown

    def _article_first(self, title: str) -> str:
        match = self._late_article.fullmatch(title) if self._late_article else None
        if match is None:
            return title
        name, article, rest = match.groups()
        space = "" if article.endswith("'") else " "
        return f"{article}{space}{name}{rest}"
