"""Ids of entities in tables: texts that can be keys everywhere."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.records.contract import LONGEST_ID
from preprocessing.records.forgotten import Forgotten
from preprocessing.tables.blocks import ParsedBlock
from preprocessing.tables.values import (
    is_blank,
    texts_of,
)

_LINE_BREAK = r"[\r\n]"

_WHOLE_NUMBER = r"^([+-]?[0-9]+)\.0+$"


def breaks_line(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """True for texts that cannot stand in a vocabulary, where each has a line of its own."""
    return pc.match_substring_regex(texts, _LINE_BREAK)


def holds_nul(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """True for texts that NumPy's fixed-width arrays cannot tell from those without their end."""
    return pc.match_substring(texts, "\0")


def usable_ids(
    block: ParsedBlock, column: str, name: str, among: np.ndarray | None = None
) -> tuple[pa.ChunkedArray, np.ndarray, list[DeadLetter]]:
    """Ids of a block's records.

    Args:
      block: the records.
      column: the column with the ids.
      name: what the ids are, e.g. "item_id", for the reasons of dead letters; those of users and
        items may have been forgotten.
      among: [rows] False for rows that were rejected already; all rows count if not given.

    Returns:
      [rows] ids as texts, whole numbers without decimals; [rows] True where the id can be used;
      and a dead letter for each row of `among` where it cannot.
    """
    ids = texts_without_decimals(texts_of(block.table[column]))
    usable = np.ones(len(ids), dtype=bool) if among is None else among.copy()
    dead_letters = []
    problems = {
        f"missing_{name}": (is_blank(ids), "empty"),
        f"line_break_in_{name}": (breaks_line(ids), "holds a line break"),
        f"nul_in_{name}": (holds_nul(ids), "holds a NUL byte"),
        f"long_{name}": (
            pc.greater(pc.binary_length(ids), LONGEST_ID),
            f"has more than {LONGEST_ID} bytes",
        ),
    }
    entity = name.removesuffix("_id")
    if entity in ("user", "item") and block.forgotten:
        forgotten = _forgotten_rows(block.forgotten, entity, ids)
        problems[f"forgotten_{name}"] = (pa.chunked_array([forgotten]), "was forgotten")
    for reason, (failed, problem) in problems.items():
        rows = failed.to_numpy() & usable
        usable &= ~rows
        for line in block.lines[rows].tolist():
            detail = f"column '{column}': {problem}"
            dead_letters.append(dead_letter(block.file.name, line, reason, detail))
    return ids, usable, dead_letters


def _forgotten_rows(forgotten: Forgotten, entity: str, ids: pa.ChunkedArray) -> np.ndarray:
    encoded = ids.combine_chunks().dictionary_encode(null_encoding="encode")
    gone = np.array(forgotten.among(entity, encoded.dictionary.to_pylist()), bool)
    return gone[encoded.indices.to_numpy()]


def without_decimals(text: str) -> str:
    """Writes a whole number such as 7.0 as 7; another text stays."""
    return re.sub(_WHOLE_NUMBER, r"\1", text) if ".0" in text else text


def texts_without_decimals(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same of a column."""
    if not pc.any(pc.match_substring(ids, ".0")).as_py():
        return ids
    return pc.replace_substring_regex(ids, _WHOLE_NUMBER, r"\1")
