"""A step's manifest after its files were edited: hashes, counts, and who was left out."""

from __future__ import annotations

import copy
import csv
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from configs.files import file_sha256
from preprocessing.knowledge.log_coverage import COVERAGE, LogCoverage
from preprocessing.links.linking import LINKS_FILE, count_by_how, read_links
from preprocessing.links.spectral import read_link_vectors
from preprocessing.prompting.rendering import PROMPTS
from preprocessing.records.contract import (
    COLLECTIVE,
    CTR,
    EXTRACTION,
    INDIVIDUAL,
    LABEL,
    RATING,
    USER_ID,
)
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.item_tables import read_vocabulary
from preprocessing.records.layout import (
    FORGOTTEN,
    ExamplesDirectory,
    StepDirectory,
    fold_folder,
    shard_name,
)
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import FIELD_2, decode_example, entry_head

Manifest = dict[str, Any]

_INCOMPLETE = "prompts of groups are missing"
"""Stands in the place of the digest of those who are forgotten."""


def edit_manifest(
    folder: Path,
    forgotten: Forgotten,
    edits: Mapping[str, Mapping[str, Any]],
    coverage: LogCoverage,
) -> Manifest | None:
    """The manifest of a step's folder as it is now.

    Where prompts of groups had to go, the manifest stays one that the step does not take for that
    of a finished result, so that it makes them anew, without those who left.

    Args:
      folder: of the step, its files edited.
      forgotten: those who are not in it any more.
      edits: edited file, as its resolved path -> `after`, its SHA-256 now, and `removed`, numbers
        by kind.
      coverage: compares vectors with the log.

    Returns:
      None where the manifest says it already.
    """
    before: Manifest = json.loads(StepDirectory(folder).manifest.read_bytes())
    manifest = copy.deepcopy(before)
    inputs = manifest.get("inputs", {})
    for name in inputs:
        edit = edits.get(str(Path(name).resolve()))
        inputs[name] = inputs[name] if edit is None else edit["after"]
    changed, is_whole = False, before.get(FORGOTTEN) != _INCOMPLETE
    for name, listed in manifest.get("files", {}).items():
        path = folder / name
        edit = edits.get(str(path.resolve()))
        if edit is not None and path.is_file():
            is_whole &= not prompts_are_missing(edit)
            now = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
            changed |= now != listed
            manifest["files"][name] = now
    if changed:
        step, _, source = str(manifest["step"]).partition(" ")
        _COUNT.get(step, _unchanged)(folder, manifest)
        if step == "encode" and manifest.get(COVERAGE):
            manifest[COVERAGE] = coverage.measured(source, folder)
    manifest[FORGOTTEN] = forgotten.digest if is_whole else _INCOMPLETE
    return None if manifest == before else manifest


def prompts_are_missing(edit: Mapping[str, Any]) -> bool:
    """Whether an edit took prompts of groups away whose other members stay.

    Args:
      edit: `file`, and `removed`, numbers by kind.
    """
    return Path(edit["file"]).name == PROMPTS and bool(edit["removed"].get("members"))


def _unchanged(folder: Path, manifest: Manifest) -> None:
    del folder, manifest


def _count_examples(folder: Path, manifest: Manifest) -> None:
    """Counts records anew; removed samples count as filtered out."""
    counts, directory = manifest["counts"], ExamplesDirectory(folder)
    shards = manifest["shards"]
    sampled_before = counts["sampled_negatives"]
    sampled = Counter[str]()
    for kind, parts in counts["examples"].items():
        for part in parts:
            parts[part] = 0
            positives = 0
            for number, entry in enumerate(shards):
                records = 0
                for record in read_records(directory.shard(part, number, len(shards), kind)):
                    records += 1
                    if kind == CTR:
                        label, rating = _number(record, LABEL), _number(record, RATING)
                        positives += bool(label)
                        sampled[part] += not label and not rating
                entry["examples"][kind][part] = records
                if kind == CTR:
                    entry["samples"][part] = records
                parts[part] += records
            if kind == CTR:
                counts["parts"][part], counts["positives"][part] = parts[part], positives
    if CTR in counts["examples"]:
        samples = sum(counts["parts"].values())
        if sampled_before:
            counts["sampled_negatives"] = min(sampled_before, sampled.total())
        gone = counts["samples"] - samples - (sampled_before - counts["sampled_negatives"])
        counts["samples"] = samples
        counts["records_out"] -= gone
        counts["filtered_out"] += gone
        counts[FORGOTTEN] = counts.get(FORGOTTEN, 0) + gone
    vocabularies = counts["vocabularies"]
    for name, size in list(vocabularies.items()):
        vocabularies[name] = len(read_vocabulary(directory.vocabulary(name)))
        if name == USER_ID:
            counts["users"] -= size - vocabularies[name]
    counts["items"] = pq.read_metadata(directory.item_attributes).num_rows


def _number(record: bytes, name: str) -> float:
    """One number of an example; most records need not be decoded for it."""
    _, head, after = record.partition(entry_head(name, FIELD_2, 4))
    if head and head not in after:
        return float(np.frombuffer(after[:4], "<f4")[0])
    return float(decode_example(record)[name][0])


def _count_knowledge(folder: Path, manifest: Manifest) -> None:
    counts = manifest["counts"]
    extractions: Counter[str] = Counter()
    _count_shards(folder, manifest["shards"], extractions)
    before = counts["knowledge_records"]
    counts["knowledge_records"] = extractions.total()
    counts[FORGOTTEN] = counts.get(FORGOTTEN, 0) + before - counts["knowledge_records"]
    for extraction in (INDIVIDUAL, COLLECTIVE):
        counts[f"{extraction}_entities"] = extractions[extraction]
    for entry in manifest.get("folds", ()):
        records = Counter[str]()
        _count_shards(folder / fold_folder(entry["fold"]), entry["shards"], records)
        entry["records"] = records.total()
    numbers = (extractions[INDIVIDUAL], extractions[COLLECTIVE], counts["entities_without_answer"])
    entities = sum(numbers) or 1
    manifest["shares"] = {
        name: round(number / entities, 6)
        for name, number in zip(("individual", "collective", "none"), numbers, strict=True)
    }
    if "links" in counts:
        vectors = read_link_vectors(str(folder / "link_vectors.arrow"))
        counts["links"] |= {"items": len(vectors.items), "outside_nodes": len(vectors.outside)}


def _count_shards(folder: Path, shards: list[dict[str, int]], extractions: Counter[str]) -> None:
    for entry in shards:
        entry["records"] = 0
        for record in read_records(folder / shard_name(entry["shard"], len(shards))):
            entry["records"] += 1
            (extraction,) = decode_example(record)[EXTRACTION]
            extractions[extraction.decode()] += 1


def _count_prompts(folder: Path, manifest: Manifest) -> None:
    """Counts prompts anew by source and extraction; tokens stay those that were written."""
    asked: Counter[tuple[str, str]] = Counter()
    with (folder / PROMPTS).open("rb") as file:
        for line in file:
            record = json.loads(line)
            asked[record["source"], record["extraction"]] += 1
    for written in manifest["written"]:
        gone = written["prompts"] - asked[written["source"], written["extraction"]]
        written["prompts"] -= gone
        counts = manifest["sources"].get(written["source"], {}).get(written["extraction"])
        if gone and isinstance(counts, dict):
            counts["prompts"] = written["prompts"]
            counts[FORGOTTEN] = counts.get(FORGOTTEN, 0) + gone


def _count_groups(folder: Path, manifest: Manifest) -> None:
    with (folder / "groups.csv").open(encoding="utf-8", newline="") as file:
        sizes = Counter(group for _, group in list(csv.reader(file))[1:])
    counts, groups = manifest["counts"], manifest["groups"]
    counts[FORGOTTEN] = counts.get(FORGOTTEN, 0) + counts["grouped"] - sizes.total()
    counts["entities"] -= counts["grouped"] - sizes.total()
    counts["grouped"], groups["number"] = sizes.total(), len(sizes)
    if sizes:
        groups |= {"smallest": min(sizes.values()), "largest": max(sizes.values())}


def _count_links(folder: Path, manifest: Manifest) -> None:
    entity = "user" if "users" in manifest["counts"] else "item"
    manifest["counts"] |= count_by_how(read_links(folder / LINKS_FILE, entity))


_COUNT = {
    "examples": _count_examples,
    "encode": _count_knowledge,
    "prompts": _count_prompts,
    "group": _count_groups,
    "link": _count_links,
}
"""Step -> counts its records anew."""
