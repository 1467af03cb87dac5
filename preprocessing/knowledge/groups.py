"""The groups file: which group each entity belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow.compute as pc

from preprocessing.csv_blocks import LINE, CsvBlock, parse_block
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.reading import is_blank
from preprocessing.records.contract import GROUP_ID


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


def parse_memberships(
    block: CsvBlock, header: list[str], entity: str
) -> tuple[list[Membership], list[DeadLetter], int]:
    """Parses lines of a groups file.

    Returns:
      Memberships, dead letters, and the number of records read.
    """
    column = entity_column(entity)
    parsed = parse_block(block, header, [column, GROUP_ID])
    dead_letters = list(parsed.dead_letters)
    table = parsed.table
    for name in (column, GROUP_ID):
        blank = is_blank(table[name])
        dead_letters += [
            dead_letter(block.path, line, f"missing_{name}", f"column '{name}': empty")
            for line in table[LINE].filter(blank).to_pylist()
        ]
        table = table.filter(pc.invert(blank))
    rows = zip(*(table[name].to_pylist() for name in (column, LINE, GROUP_ID)), strict=True)
    return [Membership(*row) for row in rows], dead_letters, parsed.records


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
