from __future__ import annotations

import json

import pytest

from benchmarks import refresh


@pytest.mark.slow
def test_export_and_refresh_are_a_json_line_each(capfd: pytest.CaptureFixture[str]) -> None:
    refresh.main(["--items", "2000", "--changed", "0.05", "--dimension", "16"])
    export, refreshed = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert export["benchmark"] == "refresh_parts_of_export"
    assert export["version_megabytes"] > export["refresh_parts_megabytes"] > 0
    assert refreshed["benchmark"] == "refresh"
    # 100 answers, 5 of them about new items.
    assert (refreshed["changed_rows"], refreshed["new_items"]) == (100, 5)
    assert refreshed["peak_megabytes"] > 50
