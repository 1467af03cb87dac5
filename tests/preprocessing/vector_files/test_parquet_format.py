from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from configs.command_line import CommandError
from preprocessing.records.knowledge import read_knowledge
from preprocessing.vector_files import Problem, VectorFile, VectorFilePart, parts_of, read_part
from tests.scenarios import tiny_scenario


def file_of(tmp_path, columns: dict[str, pa.Array], **options) -> VectorFile:
    path = str(tmp_path / "vectors.parquet")
    parquet.write_table(pa.table(columns), path, **options)
    return VectorFile(0, "vectors.parquet", path)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float16(), 2),
        pa.list_(pa.int16()),
    ],
)
def test_every_kind_of_list_is_read(tmp_path, kind):
    vectors = pa.array([[1, 2], [3, 4]], pa.list_(pa.float64())).cast(kind)
    file = file_of(tmp_path, {"entity_id": pa.array(["a", "b"]), "vector": vectors})
    (part,) = parts_of(file)
    (block,) = read_part(part)
    assert block.entity_ids == ["a", "b"]
    assert [vector.tolist() for vector in block.vectors] == [[1, 2], [3, 4]]
    assert (block.extractions, block.group_ids) == (["", ""], ["", ""])


def test_row_groups_are_parts_and_records_are_numbered_through(tmp_path):
    numbers = np.arange(2500)
    file = file_of(
        tmp_path,
        {
            "group_id": pa.array([None if number % 2 else str(number) for number in numbers]),
            "note": pa.array(numbers),
            "vector": pa.array([[float(number), 1.0] for number in numbers]),
            "entity_id": pa.array(numbers),
        },
        row_group_size=2000,
    )
    parts = parts_of(file)
    assert parts == [VectorFilePart(file, 1, 0), VectorFilePart(file, 2001, 1)]
    blocks = [block for part in parts for block in read_part(part)]
    assert [block.first_record for block in blocks] == [1, 1025, 2001]
    assert [entity for block in blocks for entity in block.entity_ids] == [str(n) for n in numbers]
    assert [vector[0] for block in blocks for vector in block.vectors] == numbers.tolist()
    assert blocks[0].group_ids[:3] == ["0", "", "2"]


def test_records_without_vector_say_why(tmp_path):
    vectors = pa.array([[1.0], None, [], [None, 2.0], [3.0]], pa.list_(pa.float32()))
    ids = pa.array(["a", "b", "c", "d", None])
    (block,) = read_part(parts_of(file_of(tmp_path, {"entity_id": ids, "vector": vectors}))[0])
    actual = [
        vector.reason if isinstance(vector, Problem) else vector.tolist()
        for vector in block.vectors
    ]
    assert actual == [[1.0], "missing_field", "missing_field", "non_finite_vector", [3.0]]
    assert block.entity_ids[4] == ""


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": pa.array(["a"])}, "no column 'entity_id'. Its columns: id"),
        ({"entity_id": pa.array(["a"])}, "no column 'vector'"),
        ({"entity_id": pa.array([1.5]), "vector": pa.array([[1.0]])}, "'entity_id' is double"),
        ({"entity_id": pa.array(["a"]), "vector": pa.array([1.0])}, "'vector' is double, not a"),
        ({"entity_id": pa.array(["a"]), "vector": pa.array([["x"]])}, "not a list of numbers"),
        (
            {
                "entity_id": pa.array(["a"]),
                "vector": pa.array([[1.0]]),
                "extraction": pa.array([1.5]),
            },
            "'extraction' is double",
        ),
    ],
)
def test_other_columns_are_refused(tmp_path, columns, message):
    with pytest.raises(CommandError, match=rf"vectors\.parquet: .*{message}"):
        parts_of(file_of(tmp_path, columns))


def test_a_cut_off_file_is_named(tmp_path):
    file = file_of(tmp_path, {"entity_id": pa.array(["a"]), "vector": pa.array([[1.0]])})
    with open(file.path, "r+b") as stream:
        stream.truncate(100)
    with pytest.raises(CommandError, match=r"vectors\.parquet: not a whole Parquet file"):
        parts_of(file)


def test_a_file_that_breaks_off_after_it_was_opened_is_named(tmp_path):
    ids = pa.array([f"{number:06d}" for number in range(3000)])
    vectors = pa.array([[float(number)] for number in range(3000)])
    file = file_of(tmp_path, {"entity_id": ids, "vector": vectors}, compression="none")
    (part,) = parts_of(file)
    with open(file.path, "r+b") as stream:
        stream.truncate(100)
    with pytest.raises(CommandError, match=r"vectors\.parquet: damaged from record 1 on"):
        list(read_part(part))


def test_the_lines_of_the_page_write_what_is_read(tmp_path, monkeypatch, repository_root):
    page = (repository_root / "docs/importing.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    work_dir = tiny_scenario().work_dir
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("out/movielens_small", work_dir), "page", "exec"), {})  # noqa: S102
    file = VectorFile(0, "item_vectors.parquet", str(tmp_path / "item_vectors.parquet"))
    (part,) = parts_of(file)
    (block,) = read_part(part)
    expected = read_knowledge(work_dir, "item")
    assert block.entity_ids == expected.entity_ids
    assert block.extractions == expected.extraction
    assert block.group_ids == expected.group_ids
    np.testing.assert_array_equal(np.stack(block.vectors), expected.vectors)
