"""What a manifest says, read without trust: a part of another shape counts as absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preprocessing.records.layout import shard_name


def section(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a manifest that holds names and values; empty if there is none."""
    value = manifest.get(name)
    return value if isinstance(value, Mapping) else {}


def number(tree: Mapping[str, Any], name: str) -> int | None:
    """A whole number; None if there is none."""
    value = tree.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def records_of_shard(manifest: Mapping[str, Any], file: str, *names: str) -> int | None:
    """Records of one TFRecord file; None if the manifest does not say.

    Args:
      manifest: says it under "shards", one entry per shard number.
      file: the file's name, without its folder.
      names: where the number stands in the shard's entry.
    """
    shards = manifest.get("shards")
    entries = shards if isinstance(shards, list) else []
    for index, entry in enumerate(entries):
        if file == shard_name(index, len(entries)) and isinstance(entry, Mapping):
            for name in names[:-1]:
                entry = section(entry, name)
            return number(entry, names[-1])
    return None
