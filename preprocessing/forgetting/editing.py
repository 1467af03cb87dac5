"""Files without some users and items: one editor a format, all other records as they were."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.command_line import CommandError
from preprocessing.answers.record import MEMBERS, split_custom_id
from preprocessing.inputs import PARQUET_SUFFIX, open_input
from preprocessing.links.linking import (
    LINKS_FILE,
    read_links,
    without_entities,
    write_parquet,
)
from preprocessing.links.spectral import graph_of_table, read_link_vectors
from preprocessing.records.contract import (
    COLLECTIVE,
    ENTITY_ID,
    EXAMPLE_KINDS,
    EXTRACTION,
    FEATURES_OF_KIND,
    GROUP_ID,
    HISTORY_ITEM_ID,
    ITEM_ID,
    USER_ID,
)
from preprocessing.records.tfrecord_file import read_records, write_records
from preprocessing.records.wire import (
    FIELD_1,
    Values,
    decode_example,
    encode_example,
    message,
)


@dataclass(frozen=True)
class Leaving:
    """Who leaves, and what leaves with them.

    Attributes:
      users: ids.
      items: ids.
      entities: source, as records name it -> "user" or "item".
      groups: source -> groups too few of whose members stay, so that nothing said of them may.
      custom_ids: pseudonyms of the users' prompts.
      prompts: SHA-256 of the prompts about them, hexadecimal.
      texts: SHA-256 of the texts about them that were encoded, hexadecimal.
    """

    users: frozenset[str]
    items: frozenset[str]
    entities: Mapping[str, str]
    groups: Mapping[str, frozenset[str]]
    custom_ids: frozenset[str]
    prompts: frozenset[str]
    texts: frozenset[str]

    def ids(self, entity: str | None) -> frozenset[str]:
        """Ids of "user" or "item"; none of anything else."""
        return {"user": self.users, "item": self.items}.get(entity or "", frozenset())

    def about(self, record: Mapping[str, Any]) -> bool:
        """Whether a record of a prompt or an answer is about somebody who leaves."""
        name = record.get("custom_id")
        if name in self.custom_ids or record.get("prompt_sha256") in self.prompts:
            return True
        named = split_custom_id(name) if isinstance(name, str) else None
        source, extraction, entity_id = named or (None, None, None)
        source = record.get("source", source)
        extraction = record.get("extraction", extraction)
        entity_id = record.get("entity_id", entity_id)
        if not isinstance(source, str) or not isinstance(entity_id, str):
            return False
        if extraction == COLLECTIVE:
            return entity_id in self.groups.get(source, ())
        return entity_id in self.ids(self.entities.get(source))


Removed = Counter[str]
"""What was taken out of a file, by kind."""

Editor = Callable[[Path, Path, Leaving], Removed]
"""Takes a file, where the edited one belongs, and who leaves; writes it if anything was removed."""


def editor_of(path: Path) -> Editor | None:
    """The editor of a file by its name; None for formats that hold no ids, or cannot be edited."""
    name = path.name
    if path.parent.name == "vocabularies":
        return _edit_vocabulary if path.stem in (USER_ID, ITEM_ID) else None
    return next((edit for suffix, edit in _EDITORS.items() if name.endswith(suffix)), None)


def holds_records(path: Path) -> bool:
    """Whether a file holds prompts or answers, a line or a row each."""
    if path.suffix == PARQUET_SUFFIX:
        return set(pq.read_schema(path).names) >= _RECORD_COLUMNS
    return path.name.endswith((".jsonl", ".jsonl.gz"))


_RECORD_COLUMNS = {"source", "entity_id"}


def _edit_json_lines(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()

    def kept() -> Iterator[bytes]:
        with open_input(path) as file:
            for line in file:
                edited, what = _edited_line(line, leaving)
                if what:
                    removed[what] += 1
                if edited:
                    yield edited

    return _written(path, target, kept(), removed)


def _edited_line(line: bytes, leaving: Leaving) -> tuple[bytes, str | None]:
    """The line as it stays, empty if it does not, and what was removed."""
    try:
        record = json.loads(line)
    except ValueError:
        return line, None
    if not isinstance(record, dict):
        return line, None
    if leaving.about(record):
        return b"", "records"
    members = record.get(MEMBERS)
    if isinstance(members, list) and not leaving.items.isdisjoint(map(str, members)):
        return _without_members(record, leaving.items), "members"
    if {"reason", "detail"} <= record.keys():
        detail = str(record["detail"])
        for entity_id in leaving.users | leaving.items:
            detail = detail.replace(repr(entity_id), "'[forgotten]'")
        if detail != record["detail"]:
            return json.dumps({**record, "detail": detail}).encode() + b"\n", "details"
    return line, None


def _without_members(record: dict[str, Any], items: frozenset[str]) -> bytes:
    """An answer that lists members of a group by number, without some; empty if it cannot be.

    A prompt's text shows them all by number, and so it goes.
    """
    stay = [index for index, item in enumerate(record[MEMBERS]) if item not in items]
    try:
        answer = json.loads(record["answer"])
        if not stay or not isinstance(answer, dict):
            return b""
    except (KeyError, TypeError, ValueError):
        return b""
    number = {str(index + 1): str(place) for place, index in enumerate(stay, start=1)}

    def renumbered(value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {number[key]: names for key, names in value.items() if key in number}

    edited = {**record, MEMBERS: [record[MEMBERS][index] for index in stay]}
    edited["answer"] = json.dumps(
        {key: renumbered(value) for key, value in answer.items()}, ensure_ascii=False
    )
    if isinstance(record.get("factors"), dict):
        edited["factors"] = {key: renumbered(value) for key, value in record["factors"].items()}
    # The prompt numbers the members as they were.
    for name in ("prompt", "prompt_sha256"):
        if name in edited:
            edited[name] = None
    return json.dumps(edited, ensure_ascii=False).encode() + b"\n"


_COLUMNS = {"user": "user", USER_ID: "user", "item": "item", ITEM_ID: "item", "linked": "item"}
"""Column of a table -> whose ids it holds."""


def _edit_csv(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()

    def kept() -> Iterator[bytes]:
        with open_input(path) as file:
            raw: list[bytes] = []

            def lines() -> Iterator[str]:
                for line in file:
                    raw.append(line)
                    yield line.decode(errors="surrogateescape")

            header: list[str] = []
            for row in csv.reader(lines()):
                record, header = dict(zip(header, row, strict=False)), header or row
                leaves = any(
                    record.get(column) in leaving.ids(entity)
                    for column, entity in _COLUMNS.items()
                    if column in record
                ) or leaving.about(record)
                if leaves:
                    removed["rows"] += 1
                else:
                    yield b"".join(raw)
                raw.clear()

    return _written(path, target, kept(), removed)


def _edit_parquet(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()
    with pq.ParquetFile(path) as file:
        names = set(file.schema_arrow.names)
        is_records = _RECORD_COLUMNS <= names
        if names.isdisjoint({*_COLUMNS, "text_sha256"}) and not is_records:
            return removed
        table = file.read()
        if not len(table):
            return removed
        codec = file.metadata.row_group(0).column(0).compression.lower()
    stays = np.ones(len(table), bool)
    for column in names & _COLUMNS.keys():
        stays &= ~_holds(table[column], leaving.ids(_COLUMNS[column]))
    if "text_sha256" in names:
        stays &= ~_holds(table["text_sha256"], {bytes.fromhex(text) for text in leaving.texts})
    if is_records:
        records = table.to_pylist()
        stays &= [
            not leaving.about(record) and leaving.items.isdisjoint(record.get(MEMBERS) or ())
            for record in records
        ]
    removed["rows"] += int((~stays).sum())
    table = table.filter(pa.array(stays))
    if not removed.total():
        return removed
    for index, field in enumerate(table.schema):
        if field.name in _COLUMNS and pa.types.is_dictionary(field.type):
            # A dictionary keeps the values that no row has any more.
            plain = table[field.name].cast(field.type.value_type).combine_chunks()
            table = table.set_column(index, field, plain.dictionary_encode().cast(field.type))
    pq.write_table(table, target, compression="none" if codec == "uncompressed" else codec)
    return removed


def _holds(column: pa.ChunkedArray, values: frozenset[str] | set[bytes]) -> np.ndarray:
    """[rows] bool, where a column has one of some values."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    value_set = pa.array(sorted(values), column.type)
    return pc.is_in(column, value_set=value_set).to_numpy()


def _edit_links(path: Path, target: Path, leaving: Leaving) -> Removed:
    entity = pq.read_schema(path).names[0]
    table = read_links(path, entity)
    edited = without_entities(table, leaving.ids(entity), leaving.items)
    removed = Counter(rows=len(table) - len(edited))
    stays = ~_holds(table[entity], leaving.ids(entity))
    removed["links"] = int((stays & _holds(table["linked"], leaving.items)).sum())
    if removed.total():
        write_parquet(edited, target)
    return removed


_ALIGNED = {
    feature.name: feature.aligned_with
    for kind in EXAMPLE_KINDS
    for feature in FEATURES_OF_KIND[kind]
    if feature.aligned_with is not None
}
"""Feature of an example -> the list of ids that its values belong to."""

_FEWEST_CANDIDATES = 2
_FEW_IDS = 64
"""So many are looked for in a record sooner than it is decoded."""


def _edit_tfrecord(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()
    ids = [*leaving.users, *leaving.items, *(g for gone in leaving.groups.values() for g in gone)]
    # As a value of a list of bytes is written.
    names = [message(FIELD_1, len(name)) + name for name in map(str.encode, ids)]
    folder = path.parent.parent if path.parent.name.startswith("without_fold_") else path.parent
    entity, groups = leaving.entities.get(folder.name), leaving.groups.get(folder.name, frozenset())

    def is_untouched(record: bytes) -> bool:
        return len(names) < _FEW_IDS and not any(name in record for name in names)

    if all(map(is_untouched, read_records(path))):
        return removed

    def kept() -> Iterator[bytes]:
        for record in read_records(path):
            if is_untouched(record):
                yield record
                continue
            features = decode_example(record)
            if ENTITY_ID in features:
                is_groups = _text(features, EXTRACTION) == COLLECTIVE
                leaves = _text(features, ENTITY_ID) in leaving.ids(entity) or (
                    is_groups and _text(features, GROUP_ID) in groups
                )
                removed["records"] += leaves
                if not leaves:
                    yield record
                continue
            edited = _edited_example(features, leaving, removed)
            if edited is features:
                yield record
            elif edited is not None:
                yield encode_example(edited)

    write_records(target, kept())
    if not removed.total():
        target.unlink()
    return removed


def _text(features: Mapping[str, Values], name: str) -> str:
    (value,) = features[name]
    return value.decode()


def _edited_example(
    features: dict[str, Values], leaving: Leaving, removed: Removed
) -> dict[str, Values] | None:
    """An example without the items that leave; itself if it has none, None if it goes."""
    items = {item.encode() for item in leaving.items}
    candidates = features[ITEM_ID]
    stay = [candidate not in items for candidate in candidates]
    is_list = len(candidates) > 1
    if _text(features, USER_ID) in leaving.users or sum(stay) < (
        _FEWEST_CANDIDATES if is_list else 1
    ):
        removed["records"] += 1
        return None
    masks = {ITEM_ID: np.array(stay, bool)}
    history = [item not in items for item in features[HISTORY_ITEM_ID]]
    masks[HISTORY_ITEM_ID] = np.array(history, bool)
    removed["candidates"] += int((~masks[ITEM_ID]).sum())
    removed["history_entries"] += int((~masks[HISTORY_ITEM_ID]).sum())
    if all(mask.all() for mask in masks.values()):
        return features
    edited = dict(features)
    for name, values in features.items():
        aligned_with = _ALIGNED.get(name, name)
        if aligned_with in masks and len(values) == len(mask := masks[aligned_with]):
            edited[name] = (
                [value for value, stays in zip(values, mask, strict=True) if stays]
                if isinstance(values, list)
                else values[mask]
            )
    return edited


def _edit_vocabulary(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()
    leave = {f"{entity_id}\n".encode() for entity_id in leaving.ids(path.stem.removesuffix("_id"))}

    def kept() -> Iterator[bytes]:
        with path.open("rb") as file:
            for line in file:
                if line in leave:
                    removed["values"] += 1
                else:
                    yield line

    return _written(path, target, kept(), removed)


def _edit_link_vectors(path: Path, target: Path, leaving: Leaving) -> Removed:
    """Drops nodes that the edited links beside it no longer have; no other row changes a bit."""
    del leaving
    vectors = read_link_vectors(str(path))
    updated = vectors.updated(graph_of_table(read_links(path.with_name(LINKS_FILE))), ())
    removed = Counter(nodes=len(vectors.vectors) - len(updated.vectors))
    if removed["nodes"]:
        updated.write(str(target))
    return removed


def _edit_answer_store(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()
    shutil.copyfile(path, target)
    try:
        with closing(sqlite3.connect(target)) as store:
            store.execute("PRAGMA secure_delete=ON")
            for table in ("answers", "batch_requests"):
                for prompt in sorted(leaving.prompts):
                    query = f"DELETE FROM {table} WHERE prompt_sha256 = ?"
                    removed[table] += store.execute(query, (prompt,)).rowcount
            store.commit()
            store.execute("VACUUM")
    except sqlite3.Error as error:
        raise CommandError(f"{path}: not a store of answers ({error})") from error
    if not removed.total():
        target.unlink()
    return removed


_EDITORS: Mapping[str, Editor] = {
    LINKS_FILE: _edit_links,
    ".jsonl": _edit_json_lines,
    ".jsonl.gz": _edit_json_lines,
    ".csv": _edit_csv,
    ".csv.gz": _edit_csv,
    ".parquet": _edit_parquet,
    ".tfrecord.gz": _edit_tfrecord,
    "link_vectors.arrow": _edit_link_vectors,
    "answer_store.sqlite": _edit_answer_store,
}


def _written(path: Path, target: Path, lines: Iterator[bytes], removed: Removed) -> Removed:
    """Writes lines as the file is written, compressed or not, and nothing if all of them stay."""
    with target.open("wb") as raw:
        file: BinaryIO | gzip.GzipFile = raw
        if path.name.endswith(".gz"):
            file = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
        try:
            file.writelines(lines)
        except (EOFError, OSError, zlib.error) as error:
            raise CommandError(f"{path}: cannot be read to its end ({error})") from error
        if file is not raw:
            file.close()
    if not removed.total():
        target.unlink()
    return removed
