"""Tables in which an item or a user stands once: the first row counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from preprocessing.dead_letters import DeadLetter, dead_letter

FILE = "@file"
LINE = "@line"
"""Columns with the index of a row's file and its line; no attribute can have these names."""

PLACE = {FILE: pa.int32(), LINE: pa.int64()}


def first_rows(
    tables: Iterable[pa.Table], schema: pa.Schema, key: str, entity: str, files: Sequence[str]
) -> tuple[pa.Table, list[DeadLetter]]:
    """Brings the parts of a table together and keeps the first row of each id.

    Args:
      tables: of the schema, in any order.
      schema: has the columns `key` and `PLACE`.
      key: column with the ids.
      entity: what an id stands for, "item" or "user".
      files: the files by index.

    Returns:
      Rows in the order of files and lines, and a dead letter for each row that was taken out.
    """
    table = pa.concat_tables([schema.empty_table(), *tables])
    table = table.sort_by([(FILE, "ascending"), (LINE, "ascending")]).combine_chunks()
    encoded = table[key].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    _, first_of_code = np.unique(codes, return_index=True)
    repeated = np.ones(len(codes), dtype=bool)
    repeated[first_of_code] = False
    file_of_row, line_of_row = table[FILE].to_numpy(), table[LINE].to_numpy()
    dead_letters = []
    for row in np.flatnonzero(repeated).tolist():
        first = first_of_code[codes[row]]
        place, first_place = (
            (int(file_of_row[index]), int(line_of_row[index])) for index in (row, first)
        )
        dead_letters.append(repeated_row(entity, place, first_place, files))
    return table.take(np.sort(first_of_code)), dead_letters


def repeated_row(
    entity: str, place: tuple[int, int], first: tuple[int, int], files: Sequence[str]
) -> DeadLetter:
    """Dead letter of a row whose item or user has an earlier row.

    Args:
      entity: "item" or "user".
      place: index of the row's file, and its line.
      first: the same of the earlier row.
      files: the files by index.
    """
    detail = f"same {entity} as line {first[1]}"
    if first[0] != place[0]:
        detail += f" of {files[first[0]]}"
    return dead_letter(files[place[0]], place[1], f"duplicate_{entity}", detail)
