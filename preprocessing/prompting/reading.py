"""Input tables of prompts, read block by block into what is looked up by id, on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from configs.data import CatalogueTable, Profiles
from configs.loading import ConfigurationError
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.grouping.groups_file import parse_memberships
from preprocessing.interactions.catalogue import ITEM_ID, parse_catalogue, parse_profiles
from preprocessing.interactions.reading import FILE_COLUMN as FILE
from preprocessing.interactions.reading import LINE_COLUMN as LINE
from preprocessing.interactions.reading import USER, repeated_row
from preprocessing.prompt_templates import (
    Template,
    TemplateError,
    TitleDisplay,
    attribute_texts,
    sanitise_text,
)
from preprocessing.tables.table_reader import TableReader

FileLine = tuple[int, int]
"""Index of a file, and line in it."""

_VALUES_PER_QUERY = 500
_TABLES = """
CREATE TABLE items (code INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, title TEXT, file INTEGER,
  line INTEGER);
CREATE TABLE members (source TEXT, entity TEXT, line INTEGER, group_id TEXT,
  PRIMARY KEY (source, entity)) WITHOUT ROWID;
CREATE TABLE profiles (user TEXT PRIMARY KEY, file INTEGER, line INTEGER, sentence TEXT)
  WITHOUT ROWID;
CREATE TABLE asked (custom_id TEXT PRIMARY KEY, times INTEGER) WITHOUT ROWID;
"""


class Scratch(AbstractContextManager["Scratch"]):
    """Tables by id in a temporary database."""

    def __init__(self, path: Path):
        """Creates the file.

        Args:
          path: where; the file must not exist.
        """
        self._database = sqlite3.connect(path, isolation_level=None)
        # The file is worthless after this run, so nothing need survive a crash.
        self._database.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _TABLES)
        self._database.execute("BEGIN")
        self._items = 0

    def __exit__(self, *_: object) -> None:
        self._database.close()

    @property
    def item_count(self) -> int:
        """Number of items; their codes are 0 to this."""
        return self._items

    def add_item(self, item_id: str, title: str, location: FileLine) -> FileLine | None:
        """Adds an item; for a known one changes nothing and returns the place it stands at."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?)",
            (self._items, item_id, title, *location),
        ).rowcount
        if added:
            self._items += 1
            return None
        return self._first_place("SELECT file, line FROM items WHERE id = ?", (item_id,))

    def items(self) -> Iterator[tuple[str, str, FileLine]]:
        """Id, title and place of every item, in the catalogue's order."""
        query = "SELECT id, title, file, line FROM items ORDER BY code"
        for item_id, title, file, line in self._database.execute(query):
            yield item_id, title, (file, line)

    def codes(self, item_ids: Sequence[str]) -> np.ndarray:
        """[ids] code of each item, -1 for one that is not in the catalogue."""
        query = "SELECT id, code FROM items WHERE id IN ({})"
        code_of_item = dict(self._matching(query, (), list(dict.fromkeys(item_ids))))
        return np.array([code_of_item.get(item_id, -1) for item_id in item_ids], dtype=np.int64)

    def titles(self, codes: Iterable[int]) -> dict[int, str]:
        """Title of each item by code; empty if it has none."""
        query = "SELECT code, title FROM items WHERE code IN ({})"
        return dict(self._matching(query, (), list(dict.fromkeys(codes))))

    def ids(self, codes: Iterable[int]) -> dict[int, str]:
        """Id of each item by code."""
        query = "SELECT code, id FROM items WHERE code IN ({})"
        return dict(self._matching(query, (), list(dict.fromkeys(codes))))

    def add_member(self, source: str, entity_id: str, line: int, group_id: str) -> int | None:
        """Adds a membership; for a known entity changes nothing and returns its first line."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?)", (source, entity_id, line, group_id)
        ).rowcount
        if added:
            return None
        query = "SELECT line FROM members WHERE source = ? AND entity = ?"
        return int(self._database.execute(query, (source, entity_id)).fetchone()[0])

    def group_sizes(self, source: str) -> dict[str, int]:
        """Group id -> number of members."""
        query = "SELECT group_id, COUNT(*) FROM members WHERE source = ? GROUP BY group_id"
        return dict(self._database.execute(query, (source,)))

    def members(self, source: str) -> Iterator[tuple[str, str]]:
        """Entity and group id of every member, in the order of the groups file."""
        query = "SELECT entity, group_id FROM members WHERE source = ? ORDER BY line, entity"
        yield from self._database.execute(query, (source,))

    def groups_of(self, source: str, entity_ids: Sequence[str]) -> list[str | None]:
        """Group id of each entity, None for one without a group."""
        query = "SELECT entity, group_id FROM members WHERE source = ? AND entity IN ({})"
        group_of_entity = dict(self._matching(query, (source,), list(dict.fromkeys(entity_ids))))
        return [group_of_entity.get(entity_id) for entity_id in entity_ids]

    def groups_of_items(self, source: str) -> Iterator[tuple[int, str]]:
        """Code and group id of every member that has a title in the catalogue."""
        yield from self._database.execute(
            "SELECT items.code, members.group_id FROM members JOIN items "
            "ON items.id = members.entity WHERE members.source = ? AND items.title != ''",
            (source,),
        )

    def add_profile(self, user_id: str, sentence: str, location: FileLine) -> FileLine | None:
        """Adds a profile sentence; for a known user changes nothing and returns the first place."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO profiles VALUES (?, ?, ?, ?)", (user_id, *location, sentence)
        ).rowcount
        if added:
            return None
        return self._first_place("SELECT file, line FROM profiles WHERE user = ?", (user_id,))

    def profiles(self, user_ids: Sequence[str]) -> dict[str, str]:
        """Profile sentence by user."""
        query = "SELECT user, sentence FROM profiles WHERE user IN ({})"
        return dict(self._matching(query, (), list(user_ids)))

    def times_asked(self, custom_id: str) -> int:
        """How often this was called with a custom id, this call included."""
        query = "INSERT INTO asked VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1"
        (times,) = self._database.execute(f"{query} RETURNING times", (custom_id,)).fetchone()
        return int(times)

    def _first_place(self, query: str, values: tuple[str, ...]) -> FileLine:
        file, line = self._database.execute(query, values).fetchone()
        return file, line

    def _matching(
        self, query: str, fixed: tuple[str, ...], values: Sequence[str] | Sequence[int]
    ) -> Iterator[tuple]:
        for start in range(0, len(values), _VALUES_PER_QUERY):
            some = values[start : start + _VALUES_PER_QUERY]
            placeholders = ",".join("?" * len(some))
            yield from self._database.execute(query.format(placeholders), (*fixed, *some))


_PROFILE_VALUE_CHARACTERS = 60


def read_items(
    catalogue: CatalogueTable, reader: TableReader, display: TitleDisplay, scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts every item of the catalogue with its name for prompts into the scratch tables.

    Returns:
      Dead letters (the first row of an item counts), and the number of records read.
    """
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in reader.read():
        table, rejected = parse_catalogue(block, catalogue)
        dead_letters += rejected
        records += block.records
        places = zip(table[FILE].to_pylist(), table[LINE].to_pylist(), strict=True)
        items = table[ITEM_ID].to_pylist()
        for item_id, title, location in zip(items, display.of_table(table), places, strict=True):
            first = scratch.add_item(item_id, title, location)
            if first is not None:
                dead_letters.append(repeated_row("item", location, first, reader.names))
    return dead_letters, records


def read_groups(
    source: str, entity: str, reader: TableReader, scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts the members of a source's groups into the scratch tables.

    Returns:
      Dead letters (the first line of an entity counts), and the number of records read.
    """
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in reader.read():
        memberships, rejected = parse_memberships(block, entity)
        dead_letters += rejected
        records += block.records
        for member in memberships:
            first = scratch.add_member(source, member.entity_id, member.line, member.group_id)
            if first is not None:
                detail = f"same entity as line {first}"
                dead_letters.append(
                    dead_letter(block.file.name, member.line, "duplicate_entity", detail)
                )
    return dead_letters, records


def profile_sentence(text: str, profiles: Profiles | None) -> Template:
    """The template of `prompts.profile_sentence`, checked against the attributes of profiles.

    The user id is no attribute, so it can never stand in the sentence.

    Raises:
      ConfigurationError: there are no profiles, or a placeholder is no attribute of theirs.
    """
    key = "prompts.profile_sentence"
    if profiles is None:
        raise ConfigurationError(f"{key}: needs data.profiles, the table of users")
    try:
        sentence = Template(text)
        sentence.require(list(profiles.attributes))
    except TemplateError as error:
        raise ConfigurationError(f"{key}: {error} (data.profiles.attributes)") from error
    return sentence


def read_profiles(
    profiles: Profiles, reader: TableReader, sentence: Template, scratch: Scratch
) -> tuple[list[DeadLetter], int]:
    """Puts the profile sentences of users into the scratch tables.

    A user with a missing value gets no sentence, and so does one whose id stands among the values.

    Returns:
      Dead letters (the first row of a user counts), and the number of records read.
    """
    dead_letters: list[DeadLetter] = []
    records = 0
    for block in reader.read():
        table, rejected = parse_profiles(block, profiles)
        dead_letters += rejected
        records += block.records
        texts = {name: attribute_texts(table[name]) for name in sentence.names}
        places = zip(table[FILE].to_pylist(), table[LINE].to_pylist(), strict=True)
        for row, (user, location) in enumerate(zip(table[USER].to_pylist(), places, strict=True)):
            values = {
                name: sanitise_text(column[row], _PROFILE_VALUE_CHARACTERS, quoted=True)
                for name, column in texts.items()
            }
            raw = {column[row].strip() for column in texts.values()}
            complete = all(values.values()) and user.strip() not in raw | set(values.values())
            shown = sentence.fill(values) if complete else ""
            first = scratch.add_profile(user, shown, location)
            if first is not None:
                dead_letters.append(repeated_row("user", location, first, reader.names))
    return dead_letters, records
