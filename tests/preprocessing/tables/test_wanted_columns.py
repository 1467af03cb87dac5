from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from preprocessing.tables.blocks import WantedColumns


def test_columns_are_wanted_once_each():
    assert WantedColumns({"x": "a", "y": "b", "z": "a"}).names == ("a", "b")


def test_mapped_columns_must_exist_once():
    wanted = WantedColumns({"x": "b", "y": "c"}, frozenset(["y"]))
    WantedColumns({"x": "a", "y": "b"}).require_in(["a", "b"], "f.csv")
    with pytest.raises(ConfigurationError) as raised:
        wanted.require_in(["a", "b"], "f.csv")
    assert str(raised.value) == (
        "y: f.csv has no column 'c'. Its columns: a, b. Write 'y: null' if there is none"
    )
    with pytest.raises(ConfigurationError, match="x: f.csv has no column 'b'. Its columns: a$"):
        wanted.require_in(["a"], "f.csv")
    with pytest.raises(ConfigurationError, match="x: f.csv has more than one column 'b'"):
        wanted.require_in(["a", "b", "b", "c"], "f.csv")
