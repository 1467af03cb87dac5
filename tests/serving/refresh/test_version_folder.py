from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.contract_versions import contract_version
from configs.loading import ConfigurationError
from serving.export_manifest import (
    FORMAT_VERSION,
    MANIFEST,
    verify_manifest,
)
from serving.model_card.card import CARD_JSON, CARD_MARKDOWN
from serving.publishing import publishing
from serving.refresh.refreshing import BaseVersion

_REPORT = {
    "items": {
        "before": {"individual": 1, "group": 2, "missing": 3},
        "after": {"individual": 2, "group": 2, "missing": 2},
    },
    "users": {
        "before": {"individual": 0, "group": 0, "missing": 0},
        "after": {"individual": 0, "group": 0, "missing": 0},
    },
    "changed_rows": 1,
    "new_items": 0,
    "new_users": 0,
}


@pytest.fixture
def version_base(tmp_path: Path) -> Path:
    """Versions 2 and 10, of which the second has manifest and card."""
    for number in (2, 10):
        folder = tmp_path / str(number)
        (folder / "assets.extra").mkdir(parents=True)
        (folder / "variables").mkdir()
        (folder / "saved_model.pb").write_bytes(b"graph")
        (folder / "variables" / "variables.index").write_bytes(b"old")
    (tmp_path / ".11.unfinished").mkdir()
    (folder / CARD_MARKDOWN).write_text("# Model card\n", encoding="utf-8")
    (folder / CARD_JSON).write_text('{"name": "films"}\n', encoding="utf-8")
    manifest = {
        "format_version": FORMAT_VERSION,
        "proof": {"passed": True},
        "variables": {"a": {"shape": [3, 2], "dtype": "float32"}},
        "files": {"saved_model.pb": {"bytes": 5, "sha256": _SHA256_OF_GRAPH}},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return tmp_path


# sha256sum of the word "graph"
_SHA256_OF_GRAPH = "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d"


def write_variables(folder: Path) -> None:
    (folder / "variables").mkdir()
    (folder / "variables" / "variables.index").write_bytes(b"new")


def test_the_next_version_is_a_copy_with_other_variables(version_base: Path) -> None:
    version = BaseVersion.find(version_base)
    assert version.number == 10
    shapes = {"a/.ATTRIBUTES/VARIABLE_VALUE": (4, 2)}
    with publishing(version_base) as publisher:
        written = version.write_next(publisher, write_variables, _REPORT, shapes)
    path = written.path
    assert (written.number, path) == (11, version_base / "11")
    assert (path / "saved_model.pb").read_bytes() == b"graph"
    assert (path / "variables" / "variables.index").read_bytes() == b"new"
    assert (version_base / "10" / "variables" / "variables.index").read_bytes() == b"old"
    assert sorted(entry.name for entry in version_base.iterdir()) == [".lock", "10", "11", "2"]
    manifest = verify_manifest(path)
    assert manifest["proof"] is None
    assert manifest["variables"]["a"]["shape"] == [4, 2]
    assert "variables/variables.index" in manifest["files"]
    (noted,) = manifest["refreshed"]
    assert (noted["from_version"], noted["items"]) == (10, _REPORT["items"])
    assert noted["code_version"] == contract_version("export")
    card = (path / CARD_MARKDOWN).read_text(encoding="utf-8")
    assert card.startswith("# Model card\n\n## Refreshed on 20")
    assert "| items: missing | 3 | 2 |" in card
    assert "users:" not in card
    assert json.loads((path / CARD_JSON).read_text(encoding="utf-8"))["refreshed"] == [noted]


def test_what_goes_wrong_leaves_no_version(version_base: Path) -> None:
    def fail(folder: Path) -> None:
        write_variables(folder)
        raise OSError("the disk is full")

    with publishing(version_base) as publisher, pytest.raises(OSError, match="the disk is full"):
        BaseVersion.find(version_base).write_next(publisher, fail, _REPORT, {})
    assert sorted(entry.name for entry in version_base.iterdir()) == [".lock", "10", "2"]


def test_a_changed_file_is_found_before_anything_is_done(version_base: Path) -> None:
    (version_base / "10" / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(CommandError, match=r"saved_model\.pb is not the file that was exported"):
        BaseVersion.find(version_base)
    assert BaseVersion.find(version_base, 2).number == 2


def test_missing_versions_are_named(version_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--version 3: .* holds the versions 2, 10"):
        BaseVersion.find(version_base, 3)
    for empty in (tmp_path / "nowhere", version_base / "10"):
        with pytest.raises(ConfigurationError, match="--model .*no version folder"):
            BaseVersion.find(empty)
