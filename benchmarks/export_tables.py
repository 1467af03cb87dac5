"""What the tables of an export cost by their size: load, memory, size on disk, time of a lookup.

    python -m benchmarks.export_tables                       # 0.1, 1 and 5 million items and users
    python -m benchmarks.export_tables --ids 5000000 --model # a whole ranking model around them
    python -m benchmarks.export_tables --ids 5000000 --model --swap   # and served, and replaced

Prints a JSON line for each number of ids and type of ids. The export is written in one process and
loaded and asked through TensorFlow's C API, the loader of TensorFlow Serving, in another, whose
memory is the line's. A lookup is raw ids to rows to vectors; `--model` ranks candidates for one
user with a history of 30 by DIN with HEIN over one item and one user source, and its export holds
what a refresh needs, as `python -m serving export` writes it: of that only the proof and the model
card are left out. `--swap` also serves it by the local server and publishes it once more while
requests for 100 candidates arrive; see benchmarks/hot_swap.py. Files are in the system's cache when
they are loaded, as they are after an export.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from benchmarks.hot_swap import measure_swaps
from benchmarks.measuring import measured, peak_megabytes, print_measure, temporary_folder
from benchmarks.model_workload import RandomKnowledge, synthetic_scenario
from configs.scenario import Scenario
from configs.serving import IdType, NumberFormat, Serving
from examples.synthetic import GENRES
from models.building import AnyModel, ModelTables, build_model
from models.catalogue import CatalogueContents, CategoricalColumn
from models.vector_tables import NUMBER_FORMATS, VectorTable
from serving.c_api import CApiSession
from serving.client.inputs import UserRequest
from serving.export import serving_module
from serving.id_index import IdIndex, with_whole_number_ids
from serving.loadtest.requests import RequestSource
from serving.publishing import write_warmup_requests
from serving.refresh.parts import RefreshParts
from trainer.run_folder import create_weights

_NAME = "export_tables"
_WIDTH = 32
_DIMENSION = 64
_HISTORY = 30
_CALLS = 300
_USERS = 64
_CANDIDATES = 100


class LookUps(tf.Module):
    """Item and user tables alone: raw ids to vectors."""

    def __init__(self, ids: list[str], number_format: NumberFormat, seed: int):
        """Makes tables of random vectors."""
        super().__init__()
        random = np.random.default_rng(seed)
        self._tables = {}
        for name in ("items", "users"):
            vectors = random.normal(size=[len(ids) + 1, _WIDTH]).astype(np.float32)
            self._tables[name] = (IdIndex(ids, name), VectorTable(vectors, number_format, name))

    def signatures(self, id_type: IdType) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """One signature per table."""
        signatures = {}
        for name, (index, vectors) in self._tables.items():

            def look_up(
                item_id: tf.Tensor, index: IdIndex = index, vectors: VectorTable = vectors
            ) -> dict[str, tf.Tensor]:
                return {"vector": vectors(index(item_id))}

            ids = tf.TensorSpec([None], tf.string, name="item_id")
            signature = tf.function(look_up, autograph=False).get_concrete_function(item_id=ids)
            signatures[name] = with_whole_number_ids(signature) if id_type == "int64" else signature
        return signatures


def main(words: list[str] | None = None) -> None:
    """Measures every number of ids, each in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ids", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    parser.add_argument(
        "--id-types", nargs="+", choices=get_args(IdType), default=["string", "int64"]
    )
    parser.add_argument("--number-format", choices=NUMBER_FORMATS, default="float16")
    parser.add_argument("--model", action="store_true", help="a whole model around the tables")
    parser.add_argument("--swap", action="store_true", help="serve it, and publish it once more")
    parser.add_argument("--rate", type=float, default=30.0, help="of the requests, per second")
    parser.add_argument("--swap-seconds", type=float, default=20.0, help="before and after a swap")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="for the exports; a temporary one if not given")
    parser.add_argument("--step", choices=("export", "load"), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.swap and not arguments.model:
        parser.error("--swap needs --model")
    if arguments.step == "export":
        _export(arguments)
        return
    if arguments.step == "load":
        _load(arguments)
        return
    for number in arguments.ids:
        for id_type in arguments.id_types:
            with temporary_folder(arguments.folder) as folder:
                result: dict[str, object] = {}
                for step in ("export", "load"):
                    result |= _in_a_process(step, number, id_type, folder, arguments)
                if arguments.swap:
                    result |= _swap(folder / "1", number, arguments)
            print_measure(
                _NAME,
                items=number,
                users=number,
                id_type=id_type,
                number_format=arguments.number_format,
                model=arguments.model,
                seed=arguments.seed,
                **result,
            )


def _in_a_process(
    step: str, number: int, id_type: str, folder: Path, arguments: argparse.Namespace
) -> dict[str, object]:
    words = ["--step", step, "--path", f"{folder}/1", "--ids", str(number), "--id-types", id_type]
    words += ["--number-format", arguments.number_format, "--seed", str(arguments.seed)]
    words += ["--model"] if arguments.model else []
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{_NAME}", *words], check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def _export(arguments: argparse.Namespace) -> None:
    (number,), (id_type,) = arguments.ids, arguments.id_types
    ids = [_raw_id(row) for row in range(number)]
    module: tf.Module
    refresh_parts: RefreshParts | None = None
    with measured() as making:
        if arguments.model:
            scenario, knowledge = _scenario(), _knowledge(ids, arguments.seed)
            model = _model(scenario, ids, knowledge, arguments.seed)
            refresh_parts = RefreshParts.of(model, scenario, id_type, knowledge)
            served = serving_module(model, arguments.number_format, id_type)
            module, signatures = served, {"rank": served.signatures()["rank"]}
        else:
            module = LookUps(ids, arguments.number_format, arguments.seed)
            signatures = module.signatures(id_type)
    with measured() as saving:
        tf.saved_model.save(module, str(arguments.path), signatures=signatures)
        if refresh_parts is not None:
            refresh_parts.write(arguments.path)
            write_warmup_requests(
                arguments.path,
                Serving(),
                {"rank": signatures["rank"].structured_input_signature[1]},
            )
    sizes = {
        file.relative_to(arguments.path).as_posix(): file.stat().st_size
        for file in arguments.path.rglob("*")
        if file.is_file()
    }
    result = {
        "make_seconds": making.seconds,
        "save_seconds": saving.seconds,
        "export_peak_megabytes": peak_megabytes(),
        "megabytes": sum(sizes.values()) / 1e6,
        "graph_megabytes": sizes["saved_model.pb"] / 1e6,
        "refresh_parts_megabytes": sum(
            size for name, size in sizes.items() if name.startswith("assets.extra/refresh/")
        )
        / 1e6,
    }
    print(json.dumps(result))


def _load(arguments: argparse.Namespace) -> None:
    (number,), (id_type,) = arguments.ids, arguments.id_types
    before = peak_megabytes()
    with measured() as loading:
        session = CApiSession(arguments.path)
    loaded = peak_megabytes()
    random = np.random.default_rng(arguments.seed)
    milliseconds = {}
    with session:
        for count in (1, 100):
            asked = []
            for places in random.integers(0, number, [_CALLS, count + _HISTORY]):
                ids = np.array([_raw_id(index) for index in places.tolist()], object)
                ids = ids.astype(np.int64) if id_type == "int64" else ids
                asked.append(_ranking(ids) if arguments.model else {"item_id": ids[_HISTORY:]})
            signature = "rank" if arguments.model else "items"
            milliseconds[count] = _milliseconds(session, signature, asked)
    result = {
        "load_seconds": loading.seconds,
        "load_megabytes": loaded - before,
        "milliseconds_1_id": float(np.median(milliseconds[1])),
        "milliseconds_100_ids": float(np.median(milliseconds[100])),
        "milliseconds_100_ids_p99": float(np.quantile(milliseconds[100], 0.99)),
    }
    print(json.dumps(result))


def _swap(version: Path, number: int, arguments: argparse.Namespace) -> dict[str, object]:
    random = np.random.default_rng(arguments.seed)

    def drawn(count: int) -> list[str]:
        return [_raw_id(index) for index in random.integers(0, number, count).tolist()]

    users = [
        UserRequest.from_history(user, drawn(_HISTORY), [4.0] * _HISTORY) for user in drawn(_USERS)
    ]
    source = RequestSource("made-up ids", users, [()] * _USERS, drawn(_CANDIDATES * _USERS))
    return measure_swaps(
        version, source, _CANDIDATES, arguments.rate, arguments.swap_seconds, 1, arguments.seed
    )


def _milliseconds(
    session: CApiSession, signature: str, asked: list[dict[str, np.ndarray]]
) -> list[float]:
    milliseconds = []
    for inputs in asked:
        with measured() as asking:
            session.run(signature, inputs)
        milliseconds.append(asking.seconds * 1e3)
    return milliseconds[len(milliseconds) // 10 :]


def _ranking(ids: np.ndarray) -> dict[str, np.ndarray]:
    """One user, the first ids as history, the others as candidates."""
    one = np.ones(1, np.float32)
    return {
        "user_id": ids[:1],
        "history_item_id": ids[np.newaxis, :_HISTORY],
        "history_rating": np.full([1, _HISTORY], 4, np.float32),
        "user_share_liked": one,
        "user_mean_rating": 4 * one,
        "user_log_count": np.log(one + _HISTORY),
        "item_id": ids[_HISTORY:],
    }


def _scenario() -> Scenario:
    """DIN with HEIN over sources of vectors made elsewhere, so that no work directory is read."""
    tree = synthetic_scenario(adapter="hein").model_dump(mode="json")
    tree["knowledge"]["answers"] = {
        source: {"entity": source, "vectors": ["-.parquet"]} for source in ("item", "user")
    }
    return Scenario.model_validate(tree)


def _knowledge(ids: list[str], seed: int) -> dict[str, RandomKnowledge]:
    """Vectors of items, and the same of users, who have the same ids."""
    random = np.random.default_rng(seed)
    records = RandomKnowledge(ids, random.standard_normal([len(ids), _DIMENSION], np.float32))
    return {"item": records, "user": records}


def _model(
    scenario: Scenario, ids: list[str], knowledge: dict[str, RandomKnowledge], seed: int
) -> AnyModel:
    random = np.random.default_rng(seed)
    counts = random.integers(1, 300, size=[len(ids), 1]).astype(np.float64)
    genres = [(genre,) for genre in GENRES]
    catalogue = CatalogueContents(
        item_ids=ids,
        trained_item_ids=ids,
        categorical={
            "genres": CategoricalColumn(GENRES, [genres[n % len(genres)] for n in range(len(ids))])
        },
        numeric={},
        rating_sum_by_fold=counts * 3.5,
        rating_count_by_fold=counts,
    )
    model = build_model(scenario, ModelTables(catalogue, knowledge))
    create_weights(model)
    return model


def _raw_id(number: int) -> str:
    """Ids that look like no other number: of up to thirteen digits, in no order."""
    return str(1_000_000_007 * number % 2**40)


if __name__ == "__main__":
    main()
