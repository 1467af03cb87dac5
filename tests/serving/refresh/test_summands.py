from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from serving.refresh.description import PROJECTED, read_summand, write_summand


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_summand(tmp_path, PROJECTED, table)
    np.testing.assert_array_equal(read_summand(tmp_path, PROJECTED), table)


def test_objects_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / PROJECTED, np.array([{}]), allow_pickle=True)
    with pytest.raises(CommandError, match=r"projected\.npy cannot be read"):
        read_summand(tmp_path, PROJECTED)
