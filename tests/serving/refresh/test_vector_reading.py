from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from configs.loading import ConfigurationError
from serving.refresh.incoming import Records, read_vectors, source_of_vectors
from tests.serving.refresh.descriptions import description


def test_every_record_becomes_an_entry_or_is_rejected(tmp_path: Path) -> None:
    rows = [
        ("7", [1.0, 2.0, 3.0], ""),
        ("", [1.0, 2.0, 3.0], ""),
        ("8", [1.0, 2.0], ""),
        ("8", [4.0, 5.0, 6.0], "individual"),
        ("8", [7.0, 8.0, 9.0], "individual"),
        ("8", [7.0, 8.0, 9.0], "collective"),
        ("9", [7.0, 8.0, 9.0], "guessed"),
        ("10", None, ""),
    ]
    path = tmp_path / "new.parquet"
    ids, vectors, extractions = zip(*rows, strict=True)
    table = {"entity_id": ids, "vector": vectors, "extraction": extractions}
    parquet.write_table(pa.table({name: list(column) for name, column in table.items()}), path)
    records = Records()
    read_vectors([str(path)], "item", description(), records)
    found = [(e.entity_id, e.collective, np.asarray(e.vector).tolist()) for e in records.entries]
    assert found == [
        ("7", False, [1, 2, 3]),
        ("8", False, [4, 5, 6]),
        ("8", True, [7, 8, 9]),
    ]
    reasons = {place.line: reason for place, (reason, _) in records.rejections.items()}
    assert reasons == {
        2: "blank_field",
        3: "wrong_width",
        5: "duplicate_entity",
        7: "extraction_mismatch",
        8: "missing_field",
    }
    summary = records.summary(records.entries)
    assert (summary["read"], summary["accepted"], summary["rejected"]) == (8, 3, 5)


def test_the_source_must_be_named() -> None:
    assert source_of_vectors(description(), "item") == "item"
    with pytest.raises(ConfigurationError, match="--source: files of vectors do not say"):
        source_of_vectors(description(), None)
    with pytest.raises(ConfigurationError, match="'film' is no single source of the model"):
        source_of_vectors(description(), "film")
