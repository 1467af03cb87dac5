from __future__ import annotations

import gzip

from preprocessing.answers.record import batched_lines


def test_lines_keep_their_numbers(tmp_path):
    path = tmp_path / "lines.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(b"" if n % 2 else b"%d" % n for n in range(3000))))
    batches = list(batched_lines(str(path), 1000))
    assert [len(batch) for batch in batches] == [1000, 500]
    assert all(int(line) == number - 1 for batch in batches for number, line in batch)


def test_long_lines_come_in_small_batches(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\n".join([b"x" * (3 << 20)] * 4 + [b"y" * (20 << 20)]))
    batches = list(batched_lines(str(path)))
    assert [[number for number, _ in batch] for batch in batches] == [[1, 2], [3, 4], [5]]
    assert len(batches[2][0][1]) == (8 << 20) + 1
