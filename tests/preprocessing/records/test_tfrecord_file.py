from __future__ import annotations

import gzip
import os

import pytest
import tensorflow as tf

from preprocessing.records import tfrecord_file
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.tfrecord_file import check_intact, read_records, write_records

RECORDS = [b"", b"first", os.urandom(3000), b"x" * 200_000]


def test_tensorflow_reads_what_we_write(tmp_path):
    path = tmp_path / "new" / "part.tfrecord.gz"
    assert write_records(path, RECORDS) == 4
    read = tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    assert [record.numpy() for record in read] == RECORDS
    assert os.listdir(path.parent) == ["part.tfrecord.gz"]


def test_we_read_what_tensorflow_writes(tmp_path):
    path = tmp_path / "part.tfrecord.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in RECORDS:
            writer.write(record)
    assert list(read_records(path)) == RECORDS


def test_equal_records_give_equal_bytes_without_a_time(tmp_path, monkeypatch):
    write_records(tmp_path / "a", RECORDS)
    write_records(tmp_path / "b", RECORDS)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert content[4:8] == b"\0\0\0\0"  # modification time of the GZIP header (RFC 1952)


def test_records_longer_than_a_block_are_put_together(tmp_path, monkeypatch):
    path = tmp_path / "part.tfrecord.gz"
    write_records(path, RECORDS)
    monkeypatch.setattr(tfrecord_file, "_READ_BYTES", 7)
    assert list(read_records(path)) == RECORDS


def test_a_failed_write_leaves_no_file_under_the_name(tmp_path):
    def records():
        yield b"one"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_records(tmp_path / "part.tfrecord.gz", records())
    assert not (tmp_path / "part.tfrecord.gz").exists()


def damaged(path, change) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (0, "record 1: the checksum of its length"),
        (16, "record 2: the checksum of its length"),
        (16 + 12, "record 2: the checksum of its data"),
    ],
)
def test_a_changed_byte_is_found_with_its_record(tmp_path, position, message):
    path = tmp_path / "part.tfrecord.gz"
    write_records(path, [b"", b"second"])

    def change(content: bytearray) -> None:
        content[position] ^= 1

    damaged(path, change)
    with pytest.raises(DamagedRecords, match=f"part.tfrecord.gz: {message}"):
        list(read_records(path))


def test_a_record_cut_off_inside_a_whole_gzip_file_is_found(tmp_path):
    path = tmp_path / "part.tfrecord.gz"
    write_records(path, [b"one", b"two"])

    def change(content: bytearray) -> None:
        del content[-3:]

    damaged(path, change)
    with pytest.raises(DamagedRecords, match="record 2: the record is cut off"):
        list(read_records(path))


@pytest.mark.parametrize("kept", [0, 5, 10, 100, -9, -1])
def test_a_cut_off_file_is_found(tmp_path, kept):
    path = tmp_path / "part.tfrecord.gz"
    write_records(path, [os.urandom(500)] * 3)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedRecords, match="cut off"):
        list(read_records(path))
    with pytest.raises(DamagedRecords, match="part.tfrecord.gz.*cut off"):
        check_intact(path)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(DamagedRecords, match="absent.*No such file"):
        check_intact(tmp_path / "absent")
    with pytest.raises(DamagedRecords, match="absent.*No such file"):
        list(read_records(tmp_path / "absent"))
    (tmp_path / "text").write_bytes(b"not compressed")
    with pytest.raises(DamagedRecords, match="text.*not valid GZIP"):
        check_intact(tmp_path / "text")


def test_a_file_damaged_after_it_was_found_whole_is_checked_again(tmp_path):
    path = tmp_path / "part.tfrecord.gz"
    write_records(path, RECORDS)
    check_intact(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedRecords, match="cut off"):
        check_intact(path)
