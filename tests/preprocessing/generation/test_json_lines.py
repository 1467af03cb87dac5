from __future__ import annotations

import gzip

from preprocessing.generation.json_lines import numbered_lines


def test_lines_keep_their_numbers(tmp_path):
    path = tmp_path / "lines.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(b"" if n % 2 else b"%d" % n for n in range(3000))))
    batches = list(numbered_lines(str(path)))
    assert [len(batch) for batch in batches] == [1000, 500]
    assert all(int(line) == number - 1 for batch in batches for number, line in batch)
