"""Names in answers to items: what becomes of every name, the table of links, and its summary."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.command_line import CommandError
from configs.knowledge import Links
from preprocessing import storage
from preprocessing.answers.names import LISTS, fault_of, name_text
from preprocessing.answers.record import Location
from preprocessing.links.titles import (
    ALTERNATIVE,
    EXACT,
    NEAR,
    Matches,
    TitleIndex,
    outside_forms,
)

HOW = (
    *("exact", "alternative", "near", "year", "mined"),
    *("outside_node", "outside", "ambiguous"),
    *("self_mention", "repeated_name", "surplus_name"),
    *("name_without_letters", "name_too_long", "name_not_a_text", "no_name"),
)
"""What may become of a name: linked in five ways; not linked in three; dropped in seven."""

LINKED, DROPPED = HOW[:5], HOW[8:]
_CODE = {how: code for code, how in enumerate(HOW)}
_HOW_MATCHED = {EXACT: _CODE["exact"], ALTERNATIVE: _CODE["alternative"], NEAR: _CODE["near"]}

_TEXTS = pa.dictionary(pa.int32(), pa.string())
_CODED = pa.dictionary(pa.int8(), pa.string())


def links_schema(entity: str) -> pa.Schema:
    """Columns of a table of links, a row for each name of an answer, in the order of the answers.

    - item, or user: what the answer is about
    - list: which of its lists the name is in, links, liked or disliked
    - name: as the answer has it, without the number of a list, of a too long one the beginning
    - rank: place in the list, from 0; of mined names in the order of the text
    - linked: the item that is meant; null if none is
    - node: of a name outside the catalogue that answers about two or more entities share, what they
      share
    - how: one of `HOW`
    - score: of a linked name 0 to 100, the similarity of name and title

    Args:
      entity: "item" or "user".
    """
    columns = {"list": _CODED, "name": _TEXTS, "rank": pa.int16(), "linked": _TEXTS}
    return pa.schema(
        {entity: _TEXTS} | columns | {"node": _TEXTS, "how": _CODED, "score": pa.float32()}
    )


_KINDS = tuple(kind for kinds in LISTS.values() for kind in kinds)
_MOST_NAMES = (1 << 15) - 1
_BLANK = -1


@dataclass
class NamesOfAnswers:
    """Names as they are read, in the order of the answers.

    Attributes:
      entity: what the answers are about, "item" or "user".
      ids: [answers] the item or user that each is about.
      places: [answers] where each was read.
      answer: [names] index into `ids`.
      kind: [names] code of the list.
      name: [names] code of the name.
      rank: [names] place in the list.
      how: [names] code of `HOW` where a name was dropped when it was read, else -1.
      codes: name -> code.
    """

    entity: str = "item"
    ids: list[str] = field(default_factory=list)
    locations: list[Location] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    name: list[int] = field(default_factory=list)
    rank: list[int] = field(default_factory=list)
    how: list[int] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)

    def add(
        self,
        entity_id: str,
        location: Location,
        lists: Mapping[str, Sequence[object]],
        most: Mapping[str, int],
    ) -> None:
        """Takes the names of one answer.

        Args:
          entity_id: what the answer is about.
          location: where it was read.
          lists: kind of list -> names, best first; what is no name is dropped.
          most: kind of list -> names that count; the others are surplus.
        """
        number = len(self.ids)
        self.ids.append(entity_id)
        self.locations.append(location)
        for kind, names in lists.items():
            for rank, name in enumerate(names[:_MOST_NAMES]):
                how = "surplus_name" if rank >= most[kind] else fault_of(name)
                text = name_text(name)
                self.answer.append(number)
                self.kind.append(_KINDS.index(kind))
                self.name.append(self.codes.setdefault(text, len(self.codes)))
                self.rank.append(rank)
                self.how.append(_BLANK if how is None else _CODE[how])


@dataclass(frozen=True)
class TitleCatalogue:
    """Items by row.

    Attributes:
      ids: [items] string.
      titles: [items] string.
      years: [items] float64, see `known_years`; NaN where unknown.
    """

    ids: pa.Array
    titles: pa.Array
    years: np.ndarray

    @functools.cached_property
    def index(self) -> TitleIndex:
        """Index of the titles, many times their size; made when a name is first looked up."""
        return TitleIndex(self.titles, self.years)

    def write(self, path: str | Path) -> None:
        """Writes ids, titles and years as Parquet, which `read_catalogue` reads."""
        years = pa.array(self.years, mask=np.isnan(self.years))
        columns = {"item": self.ids, "title": self.titles, "year": years}
        write_parquet(pa.table(columns), path)


def read_catalogue(path: str | Path) -> TitleCatalogue:
    """Reads what `TitleCatalogue.write` wrote.

    Raises:
      CommandError: it is another file, or damaged.
    """
    table = read_parquet(path, pa.schema({"item": pa.string(), "title": pa.string()}))
    years = pc.fill_null(table["year"].combine_chunks(), np.nan).to_numpy(zero_copy_only=False)
    titles = table["title"].combine_chunks()
    return TitleCatalogue(table["item"].combine_chunks(), titles, years)


def write_parquet(table: pa.Table, path: str | Path) -> None:
    """Writes a table to a path or URL; equal tables make equal bytes."""
    with storage.create_bytes(str(path)) as file:
        pq.write_table(table, file, compression="zstd")


def read_parquet(path: str | Path, columns: pa.Schema) -> pa.Table:
    """Reads a table that was written here.

    Raises:
      CommandError: the file is damaged, or lacks one of the columns.
    """
    try:
        with storage.open_bytes(str(path)) as file:
            table = pq.read_table(file)
        for field_of_table in columns:
            table[field_of_table.name]
    except (pa.ArrowException, EOFError, OSError, KeyError) as error:
        raise CommandError(
            f"{path}: cannot be read ({error}); run 'python -m preprocessing link' again"
        ) from error
    return table


LINKS_FILE, TITLES_FILE = "links.parquet", "titles.parquet"


def read_links(path: str | Path, entity: str = "item") -> pa.Table:
    """Reads a table of `links_schema`.

    Raises:
      CommandError: it is another file, or damaged.
    """
    schema = links_schema(entity)
    return read_parquet(path, schema).cast(schema).unify_dictionaries().combine_chunks()


def link_names(
    names: NamesOfAnswers, catalogue: TitleCatalogue, settings: Links, mined: bool = False
) -> pa.Table:
    """Finds the items that names mean.

    A name that several items have means the one whose year is nearest to the name's own, or where
    it has none to that of the item whose answer it is in; where that leaves more than one, it is
    ambiguous.

    Args:
      names: the names, of answers of which each is about another item or user.
      catalogue: the items.
      settings: tolerance of years and least similarity.
      mined: whether the names are mentions in prose. Those that are not linked, and a text's own
        title and repetitions, are left out, and what is linked is "mined".

    Returns:
      Table of `links_schema`.
    """
    texts = pa.array(list(names.codes), pa.string())
    answer, name = np.array(names.answer, np.int64), np.array(names.name, np.int64)
    how = np.array(names.how, np.int8)
    ids = pa.array(names.ids, pa.string())
    own = np.full(len(ids), -1, np.int64)
    if names.entity == "item":
        own[:] = pc.fill_null(pc.index_in(ids, value_set=catalogue.ids), -1).to_numpy()

    matches = catalogue.index.find(texts, settings.year_tolerance, settings.near)
    linked, score = np.full(len(name), -1, np.int64), np.full(len(name), np.nan, np.float32)
    asked = np.flatnonzero(how == _BLANK)
    linked[asked], how[asked], score[asked] = _resolve(
        matches, name[asked], own[answer[asked]], catalogue.years
    )
    outside = how == _CODE["outside"]
    form_of_name, forms = outside_forms(texts)
    form = form_of_name[name]
    # Where an item, or what is outside, is named again, the first time counts.
    target = np.where(linked >= 0, linked, len(catalogue.ids) + form)
    is_ambiguous = how == _CODE["ambiguous"]
    target[is_ambiguous] += len(forms)
    may_repeat = np.flatnonzero((linked >= 0) | ((outside | is_ambiguous) & (form >= 0)))
    order = may_repeat[np.lexsort([may_repeat, target[may_repeat], answer[may_repeat]])]
    again = order[1:][
        (target[order[1:]] == target[order[:-1]]) & (answer[order[1:]] == answer[order[:-1]])
    ]
    how[again], linked[again], outside[again] = _CODE["repeated_name"], -1, False

    rows = np.arange(len(name))
    if mined:
        rows = np.flatnonzero(linked >= 0)
        how[rows] = _CODE["mined"]
    rank = pa.array(np.array(names.rank, np.int16)[rows])
    kinds = pa.array(np.array(names.kind, np.int8)[rows])
    columns = [
        _taken(ids, answer[rows]),
        pa.DictionaryArray.from_arrays(kinds, pa.array(_KINDS)),
        _taken(texts, name[rows]),
        rank,
        _taken(catalogue.ids, linked[rows], linked[rows] < 0),
        _taken(forms, form[rows], np.ones(len(rows), bool)),
        _how_column(how[rows]),
        pa.array(score[rows], mask=linked[rows] < 0),
    ]
    return with_outside_nodes(pa.table(columns, schema=links_schema(names.entity)))


def with_outside_nodes(table: pa.Table) -> pa.Table:
    """A table of `links_schema` in which names outside the catalogue that answers share are nodes.

    Args:
      table: of answers of which each is about another item or user; who shares what is counted
        anew.
    """
    how = _codes_of_how(table["how"])
    names = table["name"].combine_chunks()
    is_outside = np.isin(how, [_CODE["outside"], _CODE["outside_node"]])
    form_of_name, forms = outside_forms(names.dictionary)
    form = form_of_name[names.indices.to_numpy()]
    may_be_node = is_outside & (form >= 0)
    named = np.bincount(form[may_be_node], minlength=len(forms) + 1)  # the last of no form
    is_node = may_be_node & (named[form] > 1)
    how[is_outside] = _CODE["outside"]
    how[is_node] = _CODE["outside_node"]
    columns = {"node": _taken(forms, form, ~is_node), "how": _how_column(how)}
    for name, column in columns.items():
        column_index = table.schema.get_field_index(name)
        table = table.set_column(column_index, table.schema.field(column_index), column)
    return table


def without_entities(table: pa.Table, leaving: Collection[str], items: Collection[str]) -> pa.Table:
    """A table of `links_schema` without some entities; no other link changes.

    Args:
      table: the table.
      leaving: items, or users, whose answers' names leave.
      items: items that nothing is linked to any more: their names are then outside, as they would
        be of a catalogue without them.
    """
    entity = table.column_names[0]
    kept = table.filter(pc.invert(rows_with(table[entity], leaving)))
    unlinked = rows_with(kept["linked"], items)
    how = _codes_of_how(kept["how"])
    how[unlinked.to_numpy(zero_copy_only=False)] = _CODE["outside"]
    linked = kept["linked"].combine_chunks()
    linked = pa.DictionaryArray.from_arrays(
        pc.if_else(unlinked, None, linked.indices), linked.dictionary
    )
    columns = {name: kept[name].combine_chunks() for name in table.column_names} | {
        "linked": linked,
        "how": _how_column(how),
        "score": pc.if_else(unlinked, None, kept["score"]).combine_chunks(),
    }
    # What nothing refers to any more would stay in the file, too.
    columns |= {name: _with_own_texts(columns[name]) for name in (entity, "name", "linked", "node")}
    return pa.table(columns, schema=links_schema(entity))


def _with_own_texts(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same with a dictionary of no other texts than the column's."""
    used = pc.unique(column.indices.drop_null())
    indices = pc.index_in(column.indices, value_set=used)
    return pa.DictionaryArray.from_arrays(indices, column.dictionary.take(used))


def joined_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of one `links_schema` as one; a mined link that is there already is left out."""
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    pair = [table.column_names[0], "linked"]
    keys = {name: table[name].combine_chunks().indices for name in pair}
    rows = pa.table({**keys, "row": np.arange(len(table))})
    first = rows.group_by(pair).aggregate([("row", "min")])["row_min"]
    is_first = np.zeros(len(table), bool)
    is_first[first.to_numpy()] = True
    is_mined = rows_with(table["how"], ["mined"]).to_numpy(zero_copy_only=False)
    return table.filter(pa.array(is_first | ~is_mined))


def _taken(texts: pa.Array, index: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    """Texts by index as a dictionary column; null where `missing`."""
    indices = pa.array(index.astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, texts.cast(pa.string()))


def _how_column(codes: np.ndarray) -> pa.DictionaryArray:
    """The column `how` of codes of `HOW`."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(HOW))


def _codes_of_how(column: pa.ChunkedArray) -> np.ndarray:
    """[rows] int8 codes of `HOW`, whatever the order of the column's own dictionary."""
    column = column.combine_chunks()
    code_of_index = pc.index_in(column.dictionary, value_set=pa.array(HOW)).to_numpy()
    return code_of_index[column.indices.to_numpy()].astype(np.int8)


def _resolve(
    matches: Matches, name: np.ndarray, own: np.ndarray, years: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What single mentions mean.

    Args:
      matches: of distinct names.
      name: [mentions] code of the name.
      own: [mentions] row of the item whose answer it is in; -1 if it is not in the catalogue.
      years: [items] float64.

    Returns:
      [mentions] row of the item that is meant, -1 for none; [mentions] code of `HOW`; [mentions]
      score, NaN for none.
    """
    first = np.searchsorted(matches.name, np.arange(len(matches.years) + 1))
    count = first[name + 1] - first[name]
    match = np.full(len(name), -1, np.int64)
    match[count == 1] = first[name[count == 1]]
    several = np.flatnonzero(count > 1)
    match[several], is_by_year, is_ambiguous = _nearest_in_year(
        matches, first, name[several], own[several], years
    )

    linked = np.full(len(name), -1, np.int64)
    how = np.full(len(name), _CODE["outside"], np.int8)
    score = np.full(len(name), np.nan, np.float32)
    match[several[is_ambiguous]], how[several[is_ambiguous]] = -1, _CODE["ambiguous"]
    is_met = match >= 0
    met = match[is_met]
    linked[is_met], score[is_met] = matches.item[met], matches.score[met]
    codes = np.array([_HOW_MATCHED[kind] for kind in range(len(_HOW_MATCHED))], np.int8)
    how[is_met] = codes[matches.how[met]]
    how[several[is_by_year & ~is_ambiguous]] = _CODE["year"]
    is_own = is_met & (linked == own)
    linked[is_own], how[is_own], score[is_own] = -1, _CODE["self_mention"], np.nan
    return linked, how, score


_WINDOW = np.arange(-3, 3)
"""Places around a year, of titles in the order of years: the two nearest to it are there, even
where one more, the item's own, does not count."""


def _nearest_in_year(
    matches: Matches, first: np.ndarray, name: np.ndarray, own: np.ndarray, years: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of several items mentions mean.

    The answer is about other items, so a title that several have means another one. Thousands may
    have it, and as many answers name it: only those next to the year are compared.

    Args:
      matches: of distinct names.
      first: [names + 1] where the matches of each name begin.
      name: [mentions] code of a name with two matches or more.
      own: [mentions] see `_resolve`.
      years: [items] float64.

    Returns:
      [mentions] the match that is nearest in year; [mentions] whether there are others; [mentions]
      whether one of them is as near.
    """
    own_year = np.where(own >= 0, years[own], np.nan)
    wanted = np.where(np.isnan(matches.years[name]), own_year, matches.years[name])
    year = years[matches.item]
    order = np.lexsort([year, matches.name])
    known, rank = np.unique(year, return_inverse=True)
    step = len(known) + 1
    place = np.searchsorted(
        matches.name[order] * step + rank[order], name * step + np.searchsorted(known, wanted)
    )
    window = place[:, np.newaxis] + _WINDOW
    is_there = (first[name, np.newaxis] <= window) & (window < first[name + 1, np.newaxis])
    match = order[np.clip(window, 0, len(order) - 1)]
    is_there &= matches.item[match] != own[:, np.newaxis]
    apart = np.abs(wanted[:, np.newaxis] - year[match])
    apart[np.isnan(apart)] = np.inf
    best = np.lexsort([apart, ~is_there])[:, :2]
    match, apart, is_there = (
        np.take_along_axis(values, best, axis=1) for values in (match, apart, is_there)
    )
    return match[:, 0], is_there[:, 1], is_there[:, 1] & (apart[:, 0] == apart[:, 1])


def summarise(
    table: pa.Table, catalogue: TitleCatalogue, popularity: Mapping[str, int] | None
) -> dict[str, Any]:
    """Counts of a table of links.

    Args:
      table: of `links_schema`.
      catalogue: the items.
      popularity: item -> rows of the log; None if there is no log.

    Returns:
      `names`, which is the sum of `linked`, `not_linked` and `dropped`, each by `how`; `lists`,
      names and linked names of each list; `linked_share` of the names that are not dropped;
      `outside_nodes`; `items` of the catalogue, with an answer, with a link from or to them, and
      the same by popularity. Of answers about users, `users` with an answer and with links, and
      `items` that are linked to.
    """
    links = table.filter(table["linked"].is_valid())
    entity = table.column_names[0]
    about = {"answered": pc.unique(table[entity]), "with_links": pc.unique(links[entity])}
    covered = {"linked_to": pc.unique(links["linked"])}
    users: dict[str, Any] = {}
    if entity == "user":
        users["users"] = {mark: len(ids) for mark, ids in about.items()}
    else:
        covered = about | covered
    return {
        **count_by_how(table),
        "lists": {
            kind: {
                name: pc.sum(rows_with(rows["list"], [kind])).as_py() or 0
                for name, rows in {"names": table, "linked": links}.items()
            }
            for kind in LISTS[entity]
        },
        "outside_nodes": len(pc.unique(table["node"].combine_chunks().drop_null())),
        **users,
        "items": _coverage(covered, catalogue, popularity),
    }


def count_by_how(table: pa.Table) -> dict[str, Any]:
    """The part of `summarise` that says what became of the names."""
    counted = {pair["values"]: pair["counts"] for pair in pc.value_counts(table["how"]).to_pylist()}
    by_how = {how: counted.get(how, 0) for how in HOW}
    linked = {how: by_how[how] for how in LINKED}
    dropped = {how: by_how[how] for how in DROPPED}
    not_linked = {how: by_how[how] for how in HOW if how not in (*LINKED, *DROPPED)}
    kept = table.num_rows - sum(dropped.values())
    return {
        "names": table.num_rows,
        "linked": linked,
        "not_linked": not_linked,
        "dropped": dropped,
        "linked_share": round(sum(linked.values()) / kept, 4) if kept else 0.0,
    }


def _coverage(
    covered: Mapping[str, pa.Array], catalogue: TitleCatalogue, popularity: Mapping[str, int] | None
) -> dict[str, Any]:
    """Items of the catalogue, and how many of them each set of ids covers."""
    in_catalogue = {
        name: pc.is_in(catalogue.ids, value_set=ids.cast(pa.string())).to_numpy(
            zero_copy_only=False
        )
        for name, ids in covered.items()
    }
    result: dict[str, Any] = {"catalogue": len(catalogue.ids)}
    result |= {name: int(hit.sum()) for name, hit in in_catalogue.items()}
    if popularity is not None:
        rows = np.array([popularity.get(item, 0) for item in catalogue.ids.to_pylist()], np.int64)
        power = np.floor(np.log10(np.maximum(rows, 1))).astype(np.int64) + (rows > 0)
        result["by_popularity"] = {
            _bucket(number): {"items": int((power == number).sum())}
            | {name: int((hit & (power == number)).sum()) for name, hit in in_catalogue.items()}
            for number in np.unique(power).tolist()
        }
    return result


def _bucket(power: int) -> str:
    """Interactions of a bucket: "0", "1-9", "10-99" and so on."""
    return "0" if power == 0 else f"{10 ** (power - 1)}-{10**power - 1}"


def review_rows(table: pa.Table, catalogue: TitleCatalogue) -> pa.Table:
    """What people look through: distinct names that are not exactly a title, the commonest first.

    Returns:
      Columns how, name, linked, title of the linked item, node, score and answers, how many have
      the name.
    """
    keys = ["how", "name", "linked", "node"]
    rows = table.filter(pc.invert(rows_with(table["how"], ["exact", *DROPPED])))
    columns = {key: rows[key].combine_chunks() for key in keys}
    codes = pa.table({key: column.indices for key, column in columns.items()})
    grouped = codes.append_column("score", rows["score"])
    grouped = grouped.group_by([*keys, "score"]).aggregate([([], "count_all")])
    for number, (key, column) in enumerate(columns.items()):
        texts = column.dictionary.cast(pa.large_string())
        grouped = grouped.set_column(number, key, texts.take(grouped[key]))
    titles, ids = (texts.cast(pa.large_string()) for texts in (catalogue.titles, catalogue.ids))
    grouped = grouped.append_column(
        "title", titles.take(pc.index_in(grouped["linked"], value_set=ids))
    )
    grouped = grouped.rename_columns([*keys, "score", "answers", "title"])
    grouped = grouped.sort_by(
        [
            ("how", "ascending"),
            ("answers", "descending"),
            ("name", "ascending"),
            ("linked", "ascending"),
        ]
    )
    return grouped.select(["how", "name", "linked", "title", "node", "score", "answers"])


def links_of_item(
    table: pa.Table, item: str, title_of: Callable[[str | None], str | None], most: int
) -> dict[str, Any]:
    """What the answers about an item name, and whose answers name it.

    Args:
      table: of `links_schema` for items.
      item: its id.
      title_of: title of an id; None of None, and where there is none.
      most: items that name this one, at most.

    Returns:
      `answered`, whether there is an answer about the item, `names`, each with `rank` from 1,
      `name`, `how`, and `item`, `title` and `score`, or `node`, and `named_by`, the `items` that
      name it, a number, and `first`, best ranks first, with `rank`, `name`, `item` and `title`.
    """
    about = table.filter(rows_with(table["item"], [item])).sort_by("rank").to_pylist()
    naming = table.filter(rows_with(table["linked"], [item])).sort_by("rank")
    return {
        "answered": bool(about),
        "names": [
            {
                "rank": row["rank"] + 1,
                "name": row["name"],
                "how": row["how"],
                "item": row["linked"],
                "title": title_of(row["linked"]),
                "score": row["score"],
                "node": row["node"],
            }
            for row in about
        ],
        "named_by": {
            "items": pc.count_distinct(naming["item"].cast(pa.string())).as_py(),
            "first": [
                {
                    "rank": row["rank"] + 1,
                    "name": row["name"],
                    "item": row["item"],
                    "title": title_of(row["item"]),
                }
                for row in naming.slice(0, most).to_pylist()
            ],
        },
    }


def linked_items(tables: Iterable[pa.Table], item: str) -> dict[str, str]:
    """Linked item -> whether it is `named` by this one, `names_it`, or `both`."""
    named: set[str] = set()
    naming: set[str] = set()
    for table in tables:
        named.update(table.filter(rows_with(table["item"], [item]))["linked"].to_pylist())
        naming.update(table.filter(rows_with(table["linked"], [item]))["item"].to_pylist())
    both = dict.fromkeys(named & naming, "both")
    return dict.fromkeys(named, "named") | dict.fromkeys(naming, "names_it") | both


def rows_with(column: pa.ChunkedArray, texts: Iterable[str]) -> pa.Array:
    """Where a column of dictionary type has one of some texts: bool [rows].

    Texts are compared in the dictionary: written out for each row, they may exceed the 2 GB that a
    string column holds.
    """
    column = column.combine_chunks()
    is_one = pc.is_in(column.dictionary, value_set=pa.array(list(texts), pa.string()))
    return pc.fill_null(is_one.take(column.indices), False)
