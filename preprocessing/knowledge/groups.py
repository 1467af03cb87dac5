"""The groups file: which group each entity belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.reading import usable_ids
from preprocessing.records.contract import GROUP_ID
from preprocessing.tables.blocks import ParsedBlock, WantedColumns
from preprocessing.tables.table_reader import TableReader, open_table


@dataclass(frozen=True, order=True)
class Membership:
    """One line of the groups file.

    Attributes:
      entity_id: item or user id.
      line: line number.
      group_id: its group.
    """

    entity_id: str
    line: int
    group_id: str


def entity_column(entity: str) -> str:
    """Column with the entity ids: item_id or user_id."""
    return f"{entity}_id"


def open_groups(path: str, entity: str, key: str) -> TableReader:
    """Finds a groups file, CSV with a header or Parquet, and checks its columns.

    Args:
      path: the file.
      entity: "item" or "user".
      key: configuration key that names the file.

    Raises:
      ConfigurationError: see `open_table`; or the path means several files.
    """
    wanted = {f"{key} ({column})": column for column in (entity_column(entity), GROUP_ID)}
    try:
        reader = open_table(Table(path=path), key, WantedColumns(wanted))
    except ConfigurationError as error:
        if not path.removesuffix(".gz").endswith(".json"):
            raise
        raise ConfigurationError(
            f"{error}. If it is a JSON object of ids and their groups, make a groups file of it: "
            f"python -m preprocessing import --groups {path} --entity {entity} --out DIR"
        ) from error
    if len(reader.files) > 1:
        raise ConfigurationError(
            f"{key}: '{path}' means {len(reader.files)} files; the groups of a source are one file"
        )
    return reader


def parse_memberships(block: ParsedBlock, entity: str) -> tuple[list[Membership], list[DeadLetter]]:
    """Parses records of a groups file.

    Returns:
      Memberships, and dead letters, those of the block included: the two add up to the block's
      records.
    """
    column = entity_column(entity)
    entities, usable, entity_letters = usable_ids(block, column, column)
    groups, usable, group_letters = usable_ids(block, GROUP_ID, GROUP_ID, usable)
    kept = pa.array(usable)
    rows = zip(
        entities.filter(kept).to_pylist(),
        block.lines[usable].tolist(),
        groups.filter(kept).to_pylist(),
        strict=True,
    )
    letters = block.dead_letters + entity_letters + group_letters
    return [Membership(*row) for row in rows], letters


def group_of_entity(
    memberships: Iterable[Membership], path: str
) -> tuple[dict[str, str], list[DeadLetter]]:
    """Entity id -> group id; the first line of an entity counts, later ones become dead letters."""
    groups: dict[str, Membership] = {}
    dead_letters: list[DeadLetter] = []
    for membership in sorted(memberships):
        first = groups.setdefault(membership.entity_id, membership)
        if first is not membership:
            detail = f"same entity as line {first.line}"
            dead_letters.append(dead_letter(path, membership.line, "duplicate_entity", detail))
    return {entity_id: first.group_id for entity_id, first in groups.items()}, dead_letters
