"""The command `explain`: an item's links, who names it, and what is near it in each source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from configs.command_line import say
from configs.knowledge import Links
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from configs.text_table import aligned
from preprocessing.links.linking import (
    LINKS_FILE,
    TITLES_FILE,
    linked_items,
    links_of_item,
    read_catalogue,
    read_links,
)
from preprocessing.links.linking import read_parquet as read_columns
from preprocessing.records.knowledge import CentredVectors, read_knowledge
from preprocessing.records.layout import WorkDirectory

_TITLES = pa.schema({"item": pa.string(), "title": pa.string()})
_MOST_TITLES = 10
_DECIMALS = 6


def explain(
    scenario: Scenario,
    item: str | None,
    title: str | None = None,
    sources: Sequence[str] | None = None,
    neighbours: int = 10,
) -> dict[str, Any]:
    """Shows what a work directory knows of an item, and returns it.

    Args:
      scenario: the scenario.
      item: the item's id; None if `title` is given.
      title: the item's title, in its place, found as names in answers are.
      sources: sources whose links are shown; all item sources that have links if None.
      neighbours: nearest items of each source, and items that name this one, at most.

    Returns:
      `item` and its `title`, null if it has none; `links`: source -> `answered`, whether there is
      an answer about the item, `names`, each with `rank` from 1, `name`, `how`, and `item`,
      `title` and `score`, or `node`, and `named_by`, the `items` that name it, a number, and
      `first`, best ranks first, with `rank`, `name`, `item` and `title`; `nearest`: encoded item
      source -> `has_vector`, and `items` with `item`, `title`, `cosine` and `link`, whether it is
      `named` by the item, `names_it`, `both` or null.

    Raises:
      ConfigurationError: there are no links, a source is unknown, not linked or not encoded yet,
        or the item is unknown; or several have the title.
      CommandError: a file is damaged.
    """
    chosen = _sources_of_links(scenario, sources)
    tables = {
        source: read_links(WorkDirectory(scenario.work_dir).links(source).path / LINKS_FILE)
        for source in chosen
    }
    titles = _Titles.read(scenario, chosen[0])
    if item is None:
        item = titles.item_of(title or "", scenario.knowledge.answers[chosen[0]].links or Links())
    links = {
        source: links_of_item(table, item, titles.__getitem__, neighbours)
        for source, table in tables.items()
    }
    is_known = item in titles or any(link_records["answered"] for link_records in links.values())
    if not is_known:
        raise ConfigurationError(
            f"--item {item}: there is no such item among the {len(titles):,} of "
            f"{titles.path}, such as {titles.examples()}; --title finds an item by its title"
        )
    linked = linked_items(tables.values(), item)
    result = {
        "item": item,
        "title": titles[item],
        "links": links,
        "nearest": {
            source: _nearest(scenario, source, item, titles, linked, neighbours)
            for source in _encoded_sources(scenario, chosen)
        },
    }
    for line in _rendered(result):
        say(line)
    return result


def _sources_of_links(scenario: Scenario, sources: Sequence[str] | None) -> list[str]:
    """Sources whose links are shown; all of them are linked."""
    answers = scenario.knowledge.answers
    if sources is None:
        sources = [
            name
            for name, described in answers.items()
            if described.entity == "item"
            and (
                described.links is not None
                or WorkDirectory(scenario.work_dir).links(name).manifest.exists()
            )
        ]
    if not sources:
        raise ConfigurationError(
            "no item source of knowledge.answers has links: describe one whose answers are lists "
            "of names by 'links', or search prose for titles by 'python -m preprocessing link "
            "--mine SOURCE'"
        )
    for source in sources:
        if source not in answers:
            raise ConfigurationError(
                f"there is no source '{source}' in knowledge.answers (there: {', '.join(answers)})"
            )
        if answers[source].entity != "item":
            raise ConfigurationError(
                f"--source {source}: its answers are about users, and items are explained"
            )
        directory = WorkDirectory(scenario.work_dir).links(source)
        if directory.manifest.exists():
            continue
        if answers[source].links is None and not answers[source].is_prose_about_items:
            raise ConfigurationError(
                f"--source {source}: its answers make no links; choose a source with "
                f"knowledge.answers.SOURCE.links"
            )
        option = "--source" if answers[source].links is not None else "--mine"
        raise ConfigurationError(
            f"{directory.manifest} is missing: the names of '{source}' are not linked yet; run "
            f"'python -m preprocessing link {option} {source}' with this configuration"
        )
    return list(dict.fromkeys(sources))


def _encoded_sources(scenario: Scenario, with_links: Sequence[str]) -> list[str]:
    """Item sources that the work directory has vectors of, those of the links first."""
    folder, answers = WorkDirectory(scenario.work_dir), scenario.knowledge.answers
    for source in with_links:
        path = folder.knowledge(source).manifest
        if answers[source].links is not None and not path.exists():
            raise ConfigurationError(
                f"{path} is missing: '{source}' is not encoded yet; run 'python -m preprocessing "
                f"encode --source {source}' with this configuration"
            )
    return [
        source
        for source in dict.fromkeys([*with_links, *answers])
        if answers[source].entity == "item" and folder.knowledge(source).manifest.exists()
    ]


@dataclass(frozen=True)
class _Titles:
    """Titles of a catalogue by id.

    Attributes:
      path: where they are from.
      by_item: id -> title, empty where there is none.
    """

    path: str
    by_item: Mapping[str, str]

    @classmethod
    def read(cls, scenario: Scenario, source: str) -> _Titles:
        path = str(WorkDirectory(scenario.work_dir).links(source).path / TITLES_FILE)
        columns = read_columns(path, _TITLES).select(_TITLES.names).to_pydict()
        return cls(path, dict(zip(columns["item"], columns["title"], strict=True)))

    def __contains__(self, item: str) -> bool:
        return item in self.by_item

    def __len__(self) -> int:
        return len(self.by_item)

    def __getitem__(self, item: str | None) -> str | None:
        return None if item is None else self.by_item.get(item) or None

    def examples(self) -> str:
        return ", ".join(list(self.by_item)[:3])

    def item_of(self, title: str, settings: Links) -> str:
        """The one item that a title means.

        Raises:
          ConfigurationError: there is none, or more than one.
        """
        catalogue = read_catalogue(self.path)
        met = catalogue.index.find(pa.array([title]), settings.year_tolerance, settings.near).item
        items, years = catalogue.ids.take(pa.array(met)).to_pylist(), catalogue.years[met]
        if not items:
            raise ConfigurationError(f"--title '{title}': no item of {self.path} has such a title")
        if len(items) > 1:
            told = "; ".join(
                f"{item} {self.by_item[item]}" + ("" if np.isnan(year) else f" ({year:.0f})")
                for item, year in list(zip(items, years, strict=True))[:_MOST_TITLES]
            )
            raise ConfigurationError(
                f"--title '{title}': {len(items)} items have this title; choose one by its year in "
                f"brackets, or by --item: {told}"
            )
        return items[0]


def _nearest(
    scenario: Scenario,
    source: str,
    item: str,
    titles: _Titles,
    linked: Mapping[str, str],
    most: int,
) -> dict[str, Any]:
    """The part of `explain`'s result about the vectors of one source."""
    knowledge = read_knowledge(scenario.work_dir, source, with_folds=False)
    rows = {entity: row for row, entity in enumerate(knowledge.entity_ids)}
    if item not in rows:
        return {"has_vector": False, "items": []}
    order, cosines = CentredVectors(knowledge.vectors).nearest(rows[item], most)
    return {
        "has_vector": True,
        "items": [
            {
                "item": knowledge.entity_ids[row],
                "title": titles[knowledge.entity_ids[row]],
                "cosine": round(cosine, _DECIMALS),
                "link": linked.get(knowledge.entity_ids[row]),
            }
            for row, cosine in zip(order.tolist(), cosines.tolist(), strict=True)
        ],
    }


def _rendered(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines for people."""
    yield f"{result['item']}  {_or_dash(result['title'])}"
    for source, link_records in result["links"].items():
        yield ""
        if link_records["names"]:
            yield f"{source}: what its answer names"
            yield from aligned(
                ["rank", "name", "how", "item", "title"],
                [
                    [
                        str(name["rank"]),
                        name["name"],
                        name["how"].replace("_", " "),
                        _or_dash(name["item"]),
                        _or_dash(name["title"] if name["node"] is None else f"[{name['node']}]"),
                    ]
                    for name in link_records["names"]
                ],
                numbers=range(1),
            )
        else:
            yield f"{source}: no answer about it names anything"
        yield ""
        yield f"{source}: {link_records['named_by']['items']:,} items name it, best ranks first"
        if link_records["named_by"]["first"]:
            yield from aligned(
                ["rank", "item", "title", "as"],
                [
                    [str(row["rank"]), row["item"], _or_dash(row["title"]), row["name"]]
                    for row in link_records["named_by"]["first"]
                ],
                numbers=range(1),
            )
    for source, near in result["nearest"].items():
        yield ""
        if not near["has_vector"]:
            yield f"{source}: the item has no vector"
            continue
        yield f"{source}: nearest items"
        yield from aligned(
            ["cosine", "item", "title", "link"],
            [
                [
                    f"{row['cosine']:.3f}",
                    row["item"],
                    _or_dash(row["title"]),
                    (row["link"] or "").replace("_", " "),
                ]
                for row in near["items"]
            ],
            numbers=range(1),
        )


def _or_dash(text: str | None) -> str:
    return text or "-"
