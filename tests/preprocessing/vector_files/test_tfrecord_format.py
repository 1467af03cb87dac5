from __future__ import annotations

import gzip

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from preprocessing.vector_files import Problem, VectorFile, parts_of, read_part


def example(vector: list[float] | None = None, **texts: bytes) -> bytes:
    record = tf.train.Example()
    if vector is not None:
        record.features.feature["vector"].float_list.value.extend(vector)
    for name, text in texts.items():
        record.features.feature[name].bytes_list.value.append(text)
    return record.SerializeToString()


def file_of(tmp_path, name: str, records: list[bytes]) -> VectorFile:
    path = str(tmp_path / name)
    options = tf.io.TFRecordOptions(compression_type="GZIP" if name.endswith(".gz") else "")
    with tf.io.TFRecordWriter(path, options) as writer:
        for record in records:
            writer.write(record)
    return VectorFile(0, name, path)


@pytest.mark.parametrize("name", ["vectors.tfrecord", "vectors.tfrecord.gz"])
def test_records_written_by_tensorflow_are_read(tmp_path, name):
    records = [
        example([number, 0.5], entity_id=str(number).encode(), extraction=b"collective")
        for number in range(1500)
    ]
    records.append(example([1.0, 2.0], entity_id="ä".encode(), group_id=b"g1"))
    (part,) = parts_of(file_of(tmp_path, name, records))
    blocks = list(read_part(part))
    assert [block.first_record for block in blocks] == [1, 1025]
    assert [vector[0] for block in blocks for vector in block.vectors][:1500] == [*range(1500)]
    last = blocks[-1]
    assert (last.entity_ids[-1], last.extractions[-1], last.group_ids[-1]) == ("ä", "", "g1")
    assert last.vectors[-1].dtype == np.float32


def test_records_of_another_shape_say_why(tmp_path):
    integers = tf.train.Example()
    integers.features.feature["entity_id"].int64_list.value.append(3)
    integers.features.feature["vector"].float_list.value.append(1.0)
    texts = tf.train.Example()
    texts.features.feature["vector"].bytes_list.value.append(b"x")
    records = [
        b"\xff\xff",
        example(entity_id=b"a"),
        example([], entity_id=b"a"),
        integers.SerializeToString(),
        texts.SerializeToString(),
        example([1.0], entity_id=b"\xff"),
    ]
    (block,) = read_part(parts_of(file_of(tmp_path, "vectors.tfrecord", records))[0])
    assert all(isinstance(vector, Problem) for vector in block.vectors)
    assert [vector.reason for vector in block.vectors] == [
        "not_an_object", "missing_field", "missing_field", "wrong_type", "wrong_type",
        "invalid_utf8",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["vectors.tfrecord", "vectors.tfrecord.gz"])
def test_a_cut_off_file_is_named_with_its_record(tmp_path, name):
    rng = np.random.default_rng(2)
    records = [example(rng.normal(size=50).tolist(), entity_id=b"%d" % row) for row in range(9)]
    file = file_of(tmp_path, name, records)
    with open(file.path, "r+b") as stream:
        stream.truncate(stream.seek(0, 2) - 20)
    with pytest.raises(CommandError, match=rf"{name}: record \d+: .*copy or make the file again"):
        list(read_part(parts_of(file)[0]))


def test_a_changed_byte_is_noticed(tmp_path):
    file = file_of(tmp_path, "vectors.tfrecord", [example([1.0] * 20, entity_id=b"a")])
    with open(file.path, "r+b") as stream:
        stream.seek(60)
        stream.write(b"\x00")
    with pytest.raises(CommandError, match=r"record 1: the checksum of its data is wrong"):
        list(read_part(parts_of(file)[0]))


def test_what_is_no_gzip_file_is_named(tmp_path):
    path = tmp_path / "vectors.tfrecord.gz"
    path.write_bytes(gzip.compress(b"x" * 100)[:-4] + b"zzzz")
    with pytest.raises(CommandError, match=r"vectors\.tfrecord\.gz: record 1"):
        list(read_part(parts_of(VectorFile(0, path.name, str(path)))[0]))
