"""Profiles: what is known about users beside their interactions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from configs.loading import ConfigurationError
from configs.raw_data import Profiles
from preprocessing.dead_letters import DeadLetter
from preprocessing.interactions.attributes import (
    attribute_columns,
    attribute_types,
    parse_attribute,
    take_out_unreadable,
)
from preprocessing.interactions.entity_ids import usable_ids
from preprocessing.interactions.first_rows import PLACE, first_rows
from preprocessing.interactions.reading import USER
from preprocessing.names import require_plain_name
from preprocessing.tables.blocks import ParsedBlock
from preprocessing.tables.table_reader import TableReader, open_table
from preprocessing.tables.wanted_columns import WantedColumns

_ATTRIBUTES_KEY = "data.profiles.attributes"


def profiles_schema(profiles: Profiles) -> pa.Schema:
    """Columns of parsed profiles: user, the attributes, file and line."""
    return pa.schema({USER: pa.string()} | attribute_types(profiles.attributes) | PLACE)


def open_profiles(profiles: Profiles) -> TableReader:
    """Finds the files of the profiles and checks that they have the mapped columns.

    Raises:
      ConfigurationError: see `open_table`; or the name of an attribute cannot be used.
    """
    for name in profiles.attributes:
        require_plain_name(_ATTRIBUTES_KEY, name)
        if name == USER:
            raise ConfigurationError(
                f"{_ATTRIBUTES_KEY}: '{USER}' is taken; give the attribute another name and set "
                "its 'column'"
            )
    columns = {"data.profiles.user": profiles.user}
    wanted = WantedColumns(columns | attribute_columns(profiles.attributes, _ATTRIBUTES_KEY))
    return open_table(profiles, "data.profiles.path", wanted)


def parse_profiles(block: ParsedBlock, profiles: Profiles) -> tuple[pa.Table, list[DeadLetter]]:
    """Parses records of the profiles.

    Returns:
      Table of `profiles_schema`, in which an unreadable number is NaN, and dead letters, those of
      the block included: the two add up to the block's records.
    """
    users, usable, dead_letters = usable_ids(block, profiles.user, "user_id")
    attributes = [
        parse_attribute(block.table, name, attribute)
        for name, attribute in profiles.attributes.items()
    ]
    table = pa.table([users, *attributes, *block.places()], schema=profiles_schema(profiles))
    return table.filter(pa.array(usable)), block.dead_letters + dead_letters


@dataclass(frozen=True)
class UserProfiles:
    """Profiles of some users, each once.

    Attributes:
      table: table of `profiles_schema`.
      dead_letters: rows of a user who has an earlier row.
      unreadable_numbers: attribute -> values neither empty nor a number; kept as missing.
    """

    table: pa.Table
    dead_letters: list[DeadLetter]
    unreadable_numbers: dict[str, int]


def collect_profiles(
    tables: Iterable[pa.Table], profiles: Profiles, files: Sequence[str]
) -> UserProfiles:
    """Brings parsed blocks together; the first row of a user counts.

    Args:
      tables: results of `parse_profiles` with all rows of some users, in any order.
      profiles: configuration of the profiles.
      files: its files by index (`TableReader.names`).
    """
    schema = profiles_schema(profiles)
    read, unreadable = take_out_unreadable(
        pa.concat_tables([schema.empty_table(), *tables]), profiles.attributes
    )
    table, dead_letters = first_rows([read], schema, USER, "user", files)
    return UserProfiles(table, dead_letters, unreadable)
