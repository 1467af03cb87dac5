from __future__ import annotations

import numpy as np
import pyarrow as pa

from preprocessing.tables.ids import breaks_line, usable_ids
from tests.preprocessing.tables.tables_on_disk import typed_block


def test_ids_must_be_there_and_fit_on_a_line():
    block = typed_block(pa.table({"who": ["a", " ", None, "b\nc", "d"]}))
    ids, usable, letters = usable_ids(block, "who", "user_id")
    assert ids.to_pylist() == ["a", " ", "", "b\nc", "d"]
    assert usable.tolist() == [True, False, False, False, True]
    assert [(letter["line"], letter["reason"], letter["detail"]) for letter in letters] == [
        (2, "missing_user_id", "column 'who': empty"),
        (3, "missing_user_id", "column 'who': empty"),
        (4, "line_break_in_user_id", "column 'who': holds a line break"),
    ]


def test_ids_that_end_in_nul_do_not_become_others():
    block = typed_block(pa.table({"who": ["a", "a\0", "\0", "b\0c", "a"]}))
    _, usable, letters = usable_ids(block, "who", "user_id")
    assert usable.tolist() == [True, False, False, False, True]
    assert [(letter["line"], letter["reason"], letter["detail"]) for letter in letters] == [
        (line, "nul_in_user_id", "column 'who': holds a NUL byte") for line in (2, 3, 4)
    ]


def test_rows_that_were_rejected_before_are_not_rejected_again():
    block = typed_block(pa.table({"who": ["", "", "a"]}))
    among = np.array([False, True, False])
    _, usable, letters = usable_ids(block, "who", "user_id", among)
    assert usable.tolist() == [False, False, False]
    assert [letter["line"] for letter in letters] == [2]
    assert among.tolist() == [False, True, False]


def test_line_breaks():
    texts = pa.chunked_array([["a b", "a\r", "a\n", ""]])
    assert breaks_line(texts).to_pylist() == [False, True, True, False]
