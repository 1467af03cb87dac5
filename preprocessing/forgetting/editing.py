"""Files without some users and items: one editor a format, all other records as they were."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.command_line import CommandError
from preprocessing.answers.names import numbers_of_members
from preprocessing.answers.record import MEMBERS, split_custom_id
from preprocessing.dead_letters import dead_letter
from preprocessing.inputs import LONGEST_LINE, PARQUET_SUFFIX, open_input
from preprocessing.links.linking import (
    DROPPED,
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
from preprocessing.tables.ids import texts_without_decimals, without_decimals


@dataclass(frozen=True)
class Leaving:
    """Who leaves, and what leaves with them.

    Attributes:
      users: ids.
      items: ids.
      entities: source, as records name it -> "user" or "item".
      groups: source -> groups too few of whose members stay, so that nothing said of them may.
      custom_ids: pseudonyms of the users' prompts, and keys of batch requests about them.
      prompts: SHA-256 of the prompts about them and nobody else, hexadecimal.
      group_prompts: SHA-256 of the prompts that list an item among the members of a group.
      texts: SHA-256 of the texts about them that were encoded, hexadecimal.
      details: SHA-256 of what dead letters quote of the names in answers about them.
    """

    users: frozenset[str]
    items: frozenset[str]
    entities: Mapping[str, str]
    groups: Mapping[str, frozenset[str]]
    custom_ids: frozenset[str]
    prompts: frozenset[str]
    group_prompts: frozenset[str]
    texts: frozenset[str]
    details: frozenset[str]

    def ids(self, entity: str | None) -> frozenset[str]:
        """Ids of "user" or "item"; none of anything else."""
        return {"user": self.users, "item": self.items}.get(entity or "", frozenset())

    def is_named(self, record: Mapping[str, Any]) -> bool | None:
        """Whether a record says by an id that it is about somebody who leaves.

        None where it names nobody that is known: a batch request, or an answer with nothing but
        the pseudonym of a prompt that is not at hand.
        """
        name = _text_of(record.get("custom_id"))
        if name in self.custom_ids:
            return True
        named = split_custom_id(name) if name is not None else None
        source, extraction, named_id = named or (None, None, None)
        source = _text_of(record.get("source")) or source
        extraction = _text_of(record.get("extraction")) or extraction
        given_id = _text_of(record.get("entity_id"))
        entity_id, entity = given_id or named_id, self.entities.get(source or "")
        if entity is None or entity_id is None:
            return None
        if extraction == COLLECTIVE:
            return entity_id in self.groups.get(source or "", ())
        is_pseudonym = entity == "user" and given_id is None
        return entity_id in self.ids(entity) or (None if is_pseudonym else False)

    def about(self, record: Mapping[str, Any]) -> bool:
        """Whether a record of a prompt or an answer is about somebody who leaves.

        The prompt decides where no id does: two films of one title have the same. A group's, which
        shows all members, does where no list of members could be edited.
        """
        is_named = self.is_named(record)
        if is_named is None:
            return prompt_of(record) in self.prompts | self.group_prompts
        has_prompt = bool(self.group_prompts) and MEMBERS not in record
        return is_named or (has_prompt and prompt_of(record) in self.group_prompts)


def prompt_of(record: Mapping[str, Any]) -> str | None:
    """SHA-256 of a record's prompt, hexadecimal: as given, or of its text; None if it has none.

    In a request of a batch, the text is the content of the user's message.
    """
    if isinstance(given := record.get("prompt_sha256"), str):
        return given.lower()
    texts = [record.get("prompt")]
    body = record.get("body")
    if isinstance(body, dict) and isinstance(messages := body.get("messages"), list):
        asked = [each for each in messages if isinstance(each, dict) and each.get("role") == "user"]
        texts += [each.get("content") for each in asked]
    for text in texts:
        if isinstance(text, str):
            return sha256_of(text)
    return None


def _text_of(value: object) -> str | None:
    """An id or a name as a text; None of what is neither."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


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


def finds_ids(path: Path) -> bool:
    """Whether a file's editor can find ids in it: a CSV file has to name a column of them."""
    if editor_of(path) is not _edit_csv:
        return editor_of(path) is not None
    with open_input(path) as file:
        header = file.readline().removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")
    return not _NAMES_OF_IDS.isdisjoint(next(csv.reader([header]), []))


@contextmanager
def damage_names(path: Path) -> Iterator[None]:
    """Turns what reading a damaged or odd file raises into an error that names it.

    Raises:
      CommandError: the file cannot be read.
    """
    try:
        yield
    except (pa.ArrowException, EOFError, OSError, zlib.error, csv.Error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # The system's, a full disk for example, says what is wrong.
        raise CommandError(
            f"{path}: cannot be read to its end ({error}); repair it or move it away, and give the "
            "command again"
        ) from error


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
                edited, what = _edited_line(line, path, leaving)
                if what:
                    removed[what] += 1
                if edited:
                    yield edited

    return _written(path, target, kept(), removed)


def _edited_line(line: bytes, path: Path, leaving: Leaving) -> tuple[bytes, str | None]:
    """The line as it stays, empty if it does not, and what was removed."""
    try:
        record = json.loads(line.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return line, None
    if not isinstance(record, dict):
        return line, None
    if leaving.about(record):
        return b"", "records"
    if any(_row_id(record.get(f"{entity}_id")) in leaving.ids(entity) for entity in _ENTITIES):
        return b"", "rows"
    if not leaving.items.isdisjoint(members_of(record)):
        return _without_members(record, leaving.items), "members"
    named = {"member_left_out": "item", "duplicate_entity": leaving.entities.get(path.parent.name)}
    reason, detail = str(record.get("reason")), record.get("detail")
    ids = leaving.ids(named.get(reason))
    if isinstance(detail, str) and (
        detail in map(quoted, ids) or (reason in DROPPED and sha256_of(detail) in leaving.details)
    ):
        return json.dumps({**record, "detail": "'[forgotten]'"}).encode() + b"\n", "details"
    return line, None


_ENTITIES = ("user", "item")


def quoted(text: str) -> str:
    """The detail of a dead letter that quotes a text."""
    return dead_letter("", 0, "", repr(text))["detail"]


def sha256_of(text: str) -> str:
    """SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _row_id(value: object) -> str | None:
    """An id in a table as `usable_ids` reads it."""
    text = _text_of(value)
    return None if text is None else without_decimals(text)


def _without_members(record: dict[str, Any], items: frozenset[str]) -> bytes:
    """An answer that lists members of a group by number, without some; empty if it cannot be.

    A prompt's text shows them all by number, and so it goes.
    """
    stay = [index for index, item in enumerate(record[MEMBERS]) if str(item) not in items]
    try:
        answer = json.loads(record["answer"])
        if not stay or not isinstance(answer, dict):
            return b""
    except (KeyError, TypeError, ValueError, RecursionError):
        return b""
    prompt = record.get("prompt")
    number_of = numbers_of_members(prompt if isinstance(prompt, str) else None)
    new_number = {index + 1: str(place) for place, index in enumerate(stay, start=1)}

    def renumbered(lists: Mapping[str, object]) -> dict[str, object]:
        numbers = {key: number_of(key) for key in lists}
        return {new_number[n]: lists[key] for key, n in numbers.items() if n in new_number}

    def edited_content(content: dict[str, Any]) -> dict[str, Any]:
        """The lists stand below a key, or alone."""
        if not any(isinstance(value, dict) for value in content.values()):
            return renumbered(content)
        return {
            key: renumbered(value) if isinstance(value, dict) else value
            for key, value in content.items()
        }

    edited = {**record, MEMBERS: [record[MEMBERS][index] for index in stay]}
    edited["answer"] = json.dumps(edited_content(answer), ensure_ascii=False)
    if isinstance(record.get("factors"), dict):
        edited["factors"] = edited_content(record["factors"])
    # The prompt numbers the members as they were.
    for name in ("prompt", "prompt_sha256"):
        if name in edited:
            edited[name] = None
    return json.dumps(edited, ensure_ascii=False).encode() + b"\n"


_COLUMNS = {"user": "user", USER_ID: "user", "item": "item", ITEM_ID: "item", "linked": "item"}
"""Column of a table -> whose ids it holds."""

_NAMES_OF_IDS = {*_COLUMNS, "custom_id", "entity_id", "prompt", "prompt_sha256"}
"""Columns of a table by which `Leaving.about` and the editor of CSV files find who leaves."""


def _edit_csv(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()
    csv.field_size_limit(LONGEST_LINE)

    def kept() -> Iterator[bytes]:
        with open_input(path) as file:
            raw: list[bytes] = []

            def lines() -> Iterator[str]:
                mark = codecs.BOM_UTF8
                for line in file:
                    raw.append(line)
                    yield line.removeprefix(mark).decode(errors="surrogateescape")
                    mark = b""

            header: list[str] = []
            for row in csv.reader(lines()):
                record, header = dict(zip(header, row, strict=False)), header or row
                leaves = any(
                    _row_id(record.get(column)) in leaving.ids(entity)
                    for column, entity in _COLUMNS.items()
                    if column in record
                ) or leaving.about(record)
                if leaves:
                    removed["rows"] += 1
                else:
                    yield b"".join(raw)
                raw.clear()

    return _written(path, target, kept(), removed)


def odd_id_columns(path: Path) -> list[str]:
    """Columns of a Parquet file that are called as ids are and hold neither texts nor integers."""
    with damage_names(path):
        schema = pq.read_schema(path)
    return [field.name for field in schema if field.name in _COLUMNS and not _holds_ids(field.type)]


def _holds_ids(column_type: pa.DataType) -> bool:
    if pa.types.is_dictionary(column_type):
        column_type = column_type.value_type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
    return any(is_kind(column_type) for is_kind in kinds)


def _edit_parquet(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()
    with pq.ParquetFile(path) as file:
        types = {field.name: field.type for field in file.schema_arrow}
        columns = [name for name in types if name in _COLUMNS and _holds_ids(types[name])]
        has_texts = types.get("text_sha256") in (pa.binary(32), pa.binary())
        is_records = _RECORD_COLUMNS <= types.keys()
        if not columns and not has_texts and not is_records:
            return removed
        table = file.read()
        if not len(table):
            return removed
        codec = file.metadata.row_group(0).column(0).compression.lower()
    stays = np.ones(len(table), bool)
    for column in columns:
        stays &= ~_holds(table[column], leaving.ids(_COLUMNS[column]))
    if has_texts:
        texts = pa.array([bytes.fromhex(text) for text in leaving.texts], types["text_sha256"])
        stays &= ~pc.is_in(table["text_sha256"], value_set=texts).to_numpy()
    if is_records:
        stays &= [
            not leaving.about(record) and leaving.items.isdisjoint(members_of(record))
            for record in table.to_pylist()
        ]
    removed["rows"] += int((~stays).sum())
    table = table.filter(pa.array(stays))
    if not removed.total():
        return removed
    for index, field in enumerate(table.schema):
        if field.name in columns and pa.types.is_dictionary(field.type):
            # A dictionary keeps the values that no row has any more.
            plain = table[field.name].cast(field.type.value_type).combine_chunks()
            table = table.set_column(index, field, plain.dictionary_encode().cast(field.type))
    pq.write_table(table, target, compression="none" if codec == "uncompressed" else codec)
    return removed


def members_of(record: Mapping[str, Any]) -> list[str]:
    """Ids of the members of the group that a prompt or an answer is about; often none."""
    members = record.get(MEMBERS)
    return list(map(str, members)) if isinstance(members, list) else []


def _holds(column: pa.ChunkedArray, ids: frozenset[str]) -> np.ndarray:
    """[rows] bool, where a column has one of some ids."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    texts = texts_without_decimals(column.cast(pa.string()))
    return pc.is_in(texts, value_set=pa.array(sorted(ids), pa.string())).to_numpy()


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
    """Drops nodes that the links beside it have no more; no other row changes a bit."""
    vectors = read_link_vectors(str(path))
    links = without_entities(
        read_links(path.with_name(LINKS_FILE)), leaving.items, leaving.items
    ).combine_chunks()
    updated = vectors.updated(graph_of_table(links), ())
    removed = Counter(nodes=len(vectors.vectors) - len(updated.vectors))
    if removed["nodes"]:
        updated.write(str(target))
    return removed


@contextmanager
def _answer_store(path: Path) -> Iterator[sqlite3.Connection]:
    """The store of `generate`, which nobody else can open meanwhile; nothing waits in a log of it.

    Raises:
      CommandError: a run uses it, or it is none.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0)) as store:
            store.execute("PRAGMA locking_mode = EXCLUSIVE")
            store.execute("BEGIN IMMEDIATE").execute("COMMIT")
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            yield store
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise CommandError(
                f"{path}: 'generate' uses this store of answers; wait for its end"
            ) from error
        raise CommandError(f"{path}: not a store of answers ({error})") from error


def batch_request_keys(path: Path, prompts: Iterable[str]) -> set[str]:
    """Keys of the requests, in files for a batch service, for some prompts.

    Args:
      path: a file; only a store of answers knows any.
      prompts: SHA-256 of the prompts.

    Raises:
      CommandError: a run uses the store, or it is none.
    """
    asked = frozenset(prompts)
    if not asked or not path.name.endswith(_ANSWER_STORE):
        return set()
    with _answer_store(path) as store:
        requests = store.execute("SELECT request_key, prompt_sha256 FROM batch_requests")
        return {key for key, prompt in requests if prompt in asked}


def _edit_answer_store(path: Path, target: Path, leaving: Leaving) -> Removed:
    removed: Removed = Counter()
    logs = [Path(f"{target}{suffix}") for suffix in ("-wal", "-shm")]
    for log in logs:
        log.unlink(missing_ok=True)  # A killed run's would be taken for this copy's.
    with _answer_store(path) as store, closing(sqlite3.connect(target)) as edited:
        store.backup(edited)
        edited.execute("PRAGMA secure_delete = ON")
        edited.execute("CREATE TEMP TABLE leaving (prompt_sha256 TEXT PRIMARY KEY)")
        prompts = [(prompt,) for prompt in sorted(leaving.prompts | leaving.group_prompts)]
        edited.executemany("INSERT INTO leaving VALUES (?)", prompts)
        for table in ("answers", "batch_requests"):
            query = f"DELETE FROM {table} WHERE prompt_sha256 IN (SELECT * FROM leaving)"
            removed[table] += edited.execute(query).rowcount
        edited.commit()
        edited.execute("VACUUM")
        Path(f"{path}-shm").unlink(missing_ok=True)
    for log in logs:
        log.unlink(missing_ok=True)
    if not removed.total():
        target.unlink()
    return removed


_ANSWER_STORE = "answer_store.sqlite"
_EDITORS: Mapping[str, Editor] = {
    LINKS_FILE: _edit_links,
    ".jsonl": _edit_json_lines,
    ".jsonl.gz": _edit_json_lines,
    ".csv": _edit_csv,
    ".csv.gz": _edit_csv,
    ".parquet": _edit_parquet,
    ".tfrecord.gz": _edit_tfrecord,
    "link_vectors.arrow": _edit_link_vectors,
    _ANSWER_STORE: _edit_answer_store,
}


def _written(path: Path, target: Path, lines: Iterator[bytes], removed: Removed) -> Removed:
    """Writes lines as the file is written, compressed or not, and nothing if all of them stay."""
    with target.open("wb") as raw:
        file: BinaryIO | gzip.GzipFile = raw
        if path.name.endswith(".gz"):
            file = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
        file.writelines(lines)
        if file is not raw:
            file.close()
    if not removed.total():
        target.unlink()
    return removed
