from __future__ import annotations

import bisect
import gzip
import itertools
import os
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st

from preprocessing.records.contract import DamagedRecords
from preprocessing.records.tfrecord_file import (
    check_intact,
    read_records,
    records_in,
    write_records,
)

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


def test_equal_records_give_equal_bytes_without_a_time(tmp_path):
    write_records(tmp_path / "a", RECORDS)
    write_records(tmp_path / "b", RECORDS)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert content[4:8] == b"\0\0\0\0"  # modification time of the GZIP header (RFC 1952)


def test_a_failed_write_leaves_no_file_under_the_name(tmp_path):
    def records():
        yield b"one"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_records(tmp_path / "part.tfrecord.gz", records())
    assert not (tmp_path / "part.tfrecord.gz").exists()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "part.tfrecord.gz"


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_a_flipped_bit_or_a_cut_off_record_is_named(path: Path, records, data) -> None:
    """Framing: a length of 8 bytes, its checksum of 4, the data and its checksum of 4."""
    write_records(path, records)
    framed = gzip.decompress(path.read_bytes())
    ends = list(itertools.accumulate(16 + len(record) for record in records))
    assert ends[-1] == len(framed)

    place = data.draw(st.integers(0, len(framed) - 1))
    flipped = bytearray(framed)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    number = bisect.bisect_right(ends, place)
    in_record = place - ends[number] + 16 + len(records[number])
    part = "length" if in_record < 12 else "data"

    cut = data.draw(st.integers(1, len(framed) - 1))
    for content, read, problem in (
        (flipped, number, f"record {number + 1}: the checksum of its {part} is wrong"),
        (
            framed[:cut],
            bisect.bisect_right(ends, cut),
            None if cut in ends else "the record is cut off",
        ),
    ):
        path.write_bytes(gzip.compress(bytes(content)))
        reader = read_records(path)
        assert [next(reader) for _ in range(read)] == records[:read]
        if problem is None:
            assert list(reader) == []
        else:
            with pytest.raises(DamagedRecords, match=f"part.tfrecord.gz: .*{problem}"):
                next(reader)


@given(
    st.lists(st.binary(max_size=40), max_size=5),
    st.lists(st.integers(0, 200), max_size=6),
)
@example([b"x" * 200_000], [0, 7, 8, 11, 12, 13, 150_000])
def test_blocks_may_end_anywhere(path: Path, records: list[bytes], cuts: list[int]) -> None:
    write_records(path, records)
    framed = gzip.decompress(path.read_bytes())
    bounds = itertools.pairwise([0, *sorted(min(cut, len(framed)) for cut in cuts), len(framed)])
    assert list(records_in(framed[start:end] for start, end in bounds)) == records


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
