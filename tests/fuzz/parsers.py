"""Everything that reads bytes from outside, as a function of these bytes.

A parser takes them or refuses them with an error made for people. Whatever else it raises is a
defect, and so is a count that does not add up. `tests/fuzz/test_parsers.py` tries a few thousand
inputs, `make fuzz` as many as it is asked for.
"""

from __future__ import annotations

import atexit
import functools
import gzip
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from google.protobuf.message import DecodeError

from configs.command_line import CommandError
from configs.data import Table
from configs.loading import ConfigurationError, load_scenario, parse_override
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.completion import completion_of, completion_of_batch_line, response_of
from preprocessing.answers.formats import FORMATS, Expected, LineFormat, detect_format
from preprocessing.answers.names import count_names, name_lists, title_words
from preprocessing.answers.reading import examine
from preprocessing.answers.record import RejectedAnswer, answer_of, json_object, numbered_lines
from preprocessing.generation.chat import SchemaMismatch, answer_schema
from preprocessing.grouping.groups_file import open_groups, parse_memberships
from preprocessing.links.titles import TitleIndex
from preprocessing.records.tfrecord_file import read_records, write_records
from preprocessing.records.wire import decode_example, encode_example
from preprocessing.tables.blocks import WantedColumns
from preprocessing.tables.ids import usable_ids
from preprocessing.tables.table_reader import open_table
from preprocessing.vector_files import parts_of, read_part, vector_files
from serving.client.errors import RankingError
from serving.client.inputs import ModelInputs, rank_inputs
from serving.client.requests import parse_request
from serving.protocol.messages import input_pb2, tensor_pb2
from serving.protocol.tensors import TensorFormatError, pack, size_of, unpack
from serving.server.errors import RequestError
from serving.server.json_values import parse_object
from serving.server.rest_app import examples_input, predict_inputs, signature_name_in, target_of
from serving.server.servable import RequestLimits, examples_of
from serving.server.server_files import check_batching_file, read_models_config

CORPUS = Path(__file__).with_name("corpus")
"""Inputs that once were defects: a folder for each parser."""

REFUSALS = (
    CommandError,
    ConfigurationError,
    RankingError,
    RejectedAnswer,
    RequestError,
    SchemaMismatch,
    TensorFormatError,
)


@dataclass(frozen=True)
class Parser:
    """What reads bytes.

    Attributes:
      read: reads them; raises one of `REFUSALS`.
      seeds: bytes that it takes, and from which others are made.
      cost: how much longer than others it takes, so that fewer inputs are tried.
    """

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    cost: int = 1


def tried(parser: Parser, data: bytes) -> bool:
    """Whether a parser takes bytes; False if it refuses them.

    Raises:
      Exception: it does neither, which is a defect.
    """
    try:
        parser.read(data)
    except REFUSALS as refusal:
        assert str(refusal).strip(), f"{type(refusal).__name__} says nothing"
        return False
    return True


def folder_in_memory() -> str | None:
    """Where files that are read once lie in memory; None where there is no such place."""
    memory = "/dev/shm"
    return memory if os.access(memory, os.W_OK) else None


@functools.cache
def _folder() -> Path:
    """A folder of this process, which goes with it."""
    given = os.environ.get("TMPDIR")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=given or folder_in_memory()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _of_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def read_bytes(data: bytes) -> object:
        path = _folder() / name
        path.write_bytes(data)
        return read(path)

    return read_bytes


def _lines(*documents: object) -> bytes:
    return "".join(json.dumps(document) + "\n" for document in documents).encode()


# --- answers


def _read_answers(path: Path) -> None:
    name = detect_format(str(path))
    outcomes = list(examine([str(path)], [name], Expected(), Thresholds(minimum_characters=1)))
    if isinstance(FORMATS[name], LineFormat):
        assert len(outcomes) == sum(1 for _ in numbered_lines(str(path)))


def _read_names(data: bytes) -> None:
    answer = answer_of(json_object(data), None, None)
    lists = name_lists(answer)
    counts = count_names(lists)
    listed = sum(len(one.names) for one in lists.lists)
    assert counts.usable + counts.dropped.total() == listed


def _read_completion(data: bytes) -> None:
    document = json_object(data)
    if "custom_id" in document:
        completion_of_batch_line(document)
    else:
        response_of(document, 1)
        completion_of(document)


def _read_schema(data: bytes) -> None:
    document = json_object(data)
    try:
        schema = answer_schema(document.get("schema"))
    except ValueError as error:
        raise CommandError(str(error)) from error
    schema.response_format()
    schema.parse(json.dumps(document.get("answer")))


_TITLES = TitleIndex(
    pa.array(["Heat (1995)", "Postman, The (Il Postino) (1994)", "Amélie (2001)", "Heat (1986)"])
)


def _read_title(data: bytes) -> None:
    name = _text(data)
    title_words(name)
    _TITLES.find(pa.array([name]), year_tolerance=1, near=0.9)


_RECORD = {
    "entity_id": "7",
    "source": "item",
    "extraction": "individual",
    "answer": "A heist film.",
}


def _named(answer: dict[str, object], **fields: object) -> bytes:
    return _lines({**_RECORD, "source": "links", "answer": json.dumps(answer), **fields})


_CHOICE = {"message": {"content": "A heist film."}, "finish_reason": "stop"}
_COMPLETION = {"choices": [_CHOICE], "model": "m", "usage": {"total_tokens": 3}}
_ANSWERS = (
    _lines(_RECORD, {**_RECORD, "entity_id": "8", "factors": {"mood": "tense"}}),
    _lines({"custom_id": "item/7", "response": {"body": _COMPLETION}}),
    _lines({**_COMPLETION, "prompt": "group 3"}),
    _lines({"7": {"prompt": "Describe it.", "answer": "A heist film."}}),
    _lines({"7": "A heist film.", "8": "A love story."}),
)

# --- tables and vectors

_COLUMNS = WantedColumns({"data.user": "user_id", "data.item": "item_id", "data.rating": "rating"})


def _read_table(path: Path) -> None:
    reader = open_table(Table(path=str(path)), "data.path", _COLUMNS)
    for block in reader.read():
        assert block.table.num_rows + len(block.dead_letters) == block.records
        ids, usable, letters = usable_ids(block, "user_id", "data.user")
        assert len(ids) == len(usable) == block.table.num_rows
        assert usable.sum() + len(letters) == block.table.num_rows


def _read_groups(path: Path) -> None:
    for block in open_groups(str(path), "item", "groups").read():
        memberships, letters = parse_memberships(block, "item")
        assert len(memberships) + len(letters) == block.records


def _read_vectors(path: Path) -> None:
    for file in vector_files([str(path)], "vectors"):
        for part in parts_of(file):
            for block in read_part(part):
                assert len(block.entity_ids) == len(block.vectors)


def _read_tfrecords(path: Path) -> None:
    for record in read_records(path):
        _read_example(record)


def _read_example(record: bytes) -> None:
    try:
        ours: object = decode_example(record)
    except ValueError as error:
        raise CommandError(str(error)) from error
    assert isinstance(ours, dict)


_ROWS: dict[str, list[object]] = {
    "user_id": ["1", "2"],
    "item_id": ["7", "8"],
    "rating": [4.0, 2.5],
}
_CSV = b'user_id,item_id,rating\n1,7,4\n2,"8",2.5\n'
_VECTORS: dict[str, list[object]] = {"entity_id": ["7", "8"], "vector": [[1.0, 2.0], [0.5, -1.0]]}


def _parquet(columns: dict[str, list[object]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _npz(compressed: bool = False) -> bytes:
    sink = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(sink, entity_id=np.array(["7", "8"]), vectors=np.eye(2, dtype=np.float32))
    return sink.getvalue()


def _tfrecords() -> bytes:
    path = _folder() / "seed.tfrecord.gz"
    features: tuple[dict[str, list[bytes] | np.ndarray], ...] = (
        {"entity_id": [b"7"], "vector": np.array([1.0, 2.0], np.float32)},
        {"entity_id": [b"8"], "n": np.array([3, -1])},
    )
    write_records(path, map(encode_example, features))
    return path.read_bytes()


# --- settings and requests


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CommandError(str(error)) from error


def _read_user_request(data: bytes) -> None:
    user, candidates = parse_request(json_object(data))
    inputs = rank_inputs(
        user, candidates or ["7"], ModelInputs(ratings=user.history_rating is not None)
    )
    assert all(isinstance(values, np.ndarray) for values in inputs.values())


_LIMITS = RequestLimits(rows=1000, input_bytes=1 << 20)
_INPUTS = {
    "item_id": tf.TensorSpec([None], tf.string),
    "history_rating": tf.TensorSpec([None, None], tf.float32),
    "count": tf.TensorSpec([None], tf.int64),
}


def _read_rest_body(data: bytes) -> None:
    _LIMITS.check_json(data)
    document = parse_object(data)
    signature_name_in(document)
    if "examples" in document:
        message = examples_input(document)
        _LIMITS.check_examples(message)
        examples_of(message)
    else:
        arrays, _ = predict_inputs(document, _INPUTS)
        _LIMITS.check_arrays(arrays)


def _read_rest_url(data: bytes) -> None:
    method, _, url = data.decode("latin-1").partition(" ")
    target = target_of(method, url)
    assert target.model.name
    assert 0 <= target.model.version.value < 1 << 63


def _read_tensor(data: bytes) -> None:
    message = tensor_pb2.TensorProto()
    _parse(message, data)
    _LIMITS.check_messages({"item_id": message})
    shape, _ = size_of(message)
    assert unpack(message).shape == shape


def _read_examples(data: bytes) -> None:
    message = input_pb2.Input()
    _parse(message, data)
    _LIMITS.check_examples(message)
    examples_of(message)


def _parse(message: object, data: bytes) -> None:
    try:
        message.ParseFromString(data)  # type: ignore[attr-defined]
    except DecodeError as error:
        raise CommandError(str(error)) from error


_MODELS_CONFIG = b"""\
model_config_list { config { name: "movies" base_path: "/models/movies" model_platform: "tensorflow"
  model_version_policy { specific { versions: 1 versions: 2 } } } }
"""
_REQUEST = {"user_id": "1", "history_item_id": ["7"], "history_rating": [4], "candidates": ["8"]}
_INSTANCE = {"item_id": "7", "history_rating": [4.0, 2], "count": 3}
_SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"type": "string"},
        "links": {"type": "array", "items": {"type": "string"}},
    },
}


def _scenario_seed() -> bytes:
    return (Path(__file__).parents[2] / "configs" / "movielens_small.yaml").read_bytes()


PARSERS: dict[str, Parser] = {
    "answers": Parser(_of_file("answers.jsonl", _read_answers), _ANSWERS),
    "answers_gzip": Parser(
        _of_file("answers.jsonl.gz", _read_answers), tuple(map(gzip.compress, _ANSWERS))
    ),
    "answers_parquet": Parser(
        _of_file("answers.parquet", _read_answers),
        (_parquet({name: [value] for name, value in _RECORD.items()}),),
        cost=4,
    ),
    "names": Parser(
        _read_names,
        (
            _named({"links": ["Heat (1995)", "Amélie", "Heat (1995)", "?"]}),
            _named({"liked": ["Heat"], "disliked": ["Speed"]}, prompt='1. "Heat (1995)"'),
            _named(
                {"links": {"1": ["Speed"], "2. Heat": ["Ronin"]}},
                extraction="collective",
                prompt="1. Up\n2. Heat",
                members=["7", "8"],
            ),
        ),
    ),
    "completion": Parser(
        _read_completion,
        (
            _lines(_COMPLETION),
            _lines({"custom_id": "item/7", "response": {"status_code": 200, "body": _COMPLETION}}),
            _lines({"choices": [{"message": {"content": [{"type": "text", "text": "A"}]}}]}),
        ),
    ),
    "schema": Parser(
        _read_schema, (_lines({"schema": _SCHEMA, "answer": {"mood": "dark", "links": ["Heat"]}}),)
    ),
    "title": Parser(_read_title, (b"Heat (1995)", "L'Amélie, Le (2001)".encode())),
    "csv": Parser(_of_file("log.csv", _read_table), (_CSV, b"user_id,item_id,rating\r\n1,7,4\r\n")),
    "csv_gzip": Parser(_of_file("log.csv.gz", _read_table), (gzip.compress(_CSV),)),
    "json_lines": Parser(
        _of_file("log.jsonl", _read_table),
        (
            _lines({"user_id": "1", "item_id": "7", "rating": 4}, {"user_id": 2, "item_id": 8}),
            _lines({"user_id": 1, "item_id": "7", "rating": 4.5}),
        ),
    ),
    "parquet": Parser(_of_file("log.parquet", _read_table), (_parquet(_ROWS),), cost=4),
    "groups": Parser(_of_file("groups.csv", _read_groups), (b"item_id,group_id\n7,1\n8,1\n9,2\n",)),
    "vectors_npz": Parser(
        _of_file("vectors.npz", _read_vectors), (_npz(), _npz(compressed=True)), cost=2
    ),
    "vectors_parquet": Parser(
        _of_file("vectors.parquet", _read_vectors), (_parquet(_VECTORS),), cost=4
    ),
    "tfrecords": Parser(_of_file("records.tfrecord.gz", _read_tfrecords), (_tfrecords(),)),
    "example": Parser(
        _read_example,
        (
            encode_example({"entity_id": [b"7"], "vector": np.array([1.0, 2.0], np.float32)}),
            encode_example({"count": np.array([3, -1, 1 << 40])}),
        ),
    ),
    "yaml": Parser(_of_file("scenario.yaml", load_scenario), (_scenario_seed(),), cost=50),
    "override": Parser(
        lambda data: parse_override(_text(data)),
        (b"training.epochs=3", b"model.top_units=[200,80]", b"a.b={c: [1, x]}"),
    ),
    "user_request": Parser(_read_user_request, (_lines(_REQUEST),)),
    "rest_body": Parser(
        _read_rest_body,
        (
            _lines({"instances": [_INSTANCE]}),
            _lines({"inputs": {"item_id": ["7"], "history_rating": [[4]], "count": [1]}}),
            _lines({"examples": [{"item_id": "7", "n": [1, 2]}], "context": {"x": 0.5}}),
            _lines({"examples": [{"item_id": {"b64": "Nw=="}}], "signature_name": "rank"}),
        ),
    ),
    "rest_url": Parser(
        _read_rest_url,
        (
            b"GET /v1/models/movies/versions/3/metadata",
            b"POST /v1/models/movies/labels/stable:predict",
        ),
    ),
    "tensor": Parser(
        _read_tensor,
        (
            pack(np.array([b"7", b"8"], object)).SerializeToString(),
            pack(np.ones([2, 3], np.float32)).SerializeToString(),
        ),
    ),
    "examples": Parser(
        _read_examples,
        (examples_input({"examples": [{"a": 1}], "context": {"b": "x"}}).SerializeToString(),),
    ),
    "models_config": Parser(_of_file("models.config", read_models_config), (_MODELS_CONFIG,)),
    "batching": Parser(
        _of_file("batching.config", check_batching_file),
        (b"max_batch_size { value: 64 }\nbatch_timeout_micros { value: 0 }\n",),
    ),
}
"""Name -> parser."""
