"""How fast examples come from their files, beside the training that they are for.

    python -m benchmarks.input_pipeline
    python -m benchmarks.input_pipeline --history 5 --adapter hein

A log of the size of MovieLens-1M with the temporal split: about 670,000 training samples. Prints a
JSON line for each program, in processor time and in wall time:

  input         batches of `training.input=stream`, from files to prepared tensors, nothing else
  ready         an epoch of training on tensors that are ready in memory
  stream        an epoch of training with `training.input=stream`
  memory        the first epoch with `training.input=memory`: reading and preparing, then the epoch

and the ratios of `ready`'s time to the others'.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from benchmarks.measuring import Stopwatch, measured, print_measure
from configs.loading import scenario_from_tree
from configs.scenario import Scenario
from examples.synthetic import SyntheticLog
from models.building import AnyModel, build_model
from preprocessing.beam_options import silence_beam_import_logs
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from trainer.examples import ExampleStore
from trainer.optimizers import build_optimizer
from trainer.run_folder import create_weights
from trainer.training import match_statistics
from trainer.training_input import TrainingInput, Worker, training_examples

_NAME = "input_pipeline"
_ITEMS = 3_706


def main() -> None:
    """Builds the data and runs the programs one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--history", type=int, default=30, help="interactions in an example")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--backbone", default="din")
    parser.add_argument("--adapter", default="none")
    parser.add_argument("--match", default="none")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="where the data is built, or is from an earlier run")
    arguments = parser.parse_args()
    silence_beam_import_logs()
    with tempfile.TemporaryDirectory() as temporary:
        scenario = built_scenario(Path(arguments.folder or temporary), arguments)
        _measure(scenario, arguments)


def built_scenario(folder: Path, arguments: argparse.Namespace) -> Scenario:
    """The scenario over a synthetic log; what is built already is not built again."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"interactions_{arguments.interactions}_{arguments.seed}.csv"
    if not log.exists():
        users = max(10, arguments.interactions // 166)
        synthetic = SyntheticLog(arguments.interactions, users, _ITEMS, arguments.seed)
        synthetic.write_interactions(log)
        synthetic.write_catalogue(folder / "catalogue.csv")
    scenario = scenario_from_tree(
        {
            "name": "input pipeline",
            "work_dir": str(folder / f"work_{arguments.interactions}_{arguments.history}"),
            "data": {
                "interactions": {"path": str(log)},
                "catalogue": {
                    "path": str(folder / "catalogue.csv"),
                    "attributes": {
                        "genres": {"kind": "categorical", "separator": "|"},
                        "year": {"kind": "numeric"},
                    },
                },
                "history_length": arguments.history,
            },
            "knowledge": {
                "sources": ["item", "user"],
                "answers": {
                    "item": {"entity": "item", "random": {"dimension": 384}},
                    "user": {"entity": "user", "random": {"dimension": 384}},
                },
            },
            "model": {
                "backbone": arguments.backbone,
                "adapter": arguments.adapter,
                "match": arguments.match,
            },
            "training": {"batch_size": arguments.batch_size, "seed": arguments.seed},
        }
    )
    build_examples(scenario)
    encode(scenario)
    return scenario


def _measure(scenario: Scenario, arguments: argparse.Namespace) -> None:
    store = ExampleStore()
    training = scenario.training
    tf.keras.utils.set_random_seed(training.seed)
    model = build_model(scenario, store.tables(scenario))
    create_weights(model)
    in_memory = training_examples(scenario, model, store, Worker()).input
    if model.inputs_preparation.num_match_features:
        model.set_match_statistics(
            *match_statistics(model, store.examples(scenario, model, "train"))
        )
    model.compile(optimizer=build_optimizer(training, model, in_memory.steps))
    streaming = scenario.model_copy(
        update={"training": training.model_copy(update={"input": "stream"})}
    )
    from_files = training_examples(streaming, model, store, Worker()).input

    def read_then_train() -> None:
        examples = training_examples(scenario, model, ExampleStore(), Worker()).input
        _train(model, examples)

    programs: dict[str, Callable[[], None]] = {
        "input": lambda: _iterate(from_files),
        "ready": lambda: _train(model, in_memory),
        "stream": lambda: _train(model, from_files),
        "memory": read_then_train,
    }
    # Traces the training step, once for the static and once for the open history width.
    _train(model, in_memory, steps=2)
    _train(model, from_files, steps=2)
    for round_number in range(arguments.rounds):
        watches = {name: _timed(program) for name, program in programs.items()}
        _report(watches, in_memory.num_examples, round_number, arguments)


def _timed(program: Callable[[], None]) -> Stopwatch:
    with measured() as watch:
        program()
    return watch


def _iterate(examples: TrainingInput) -> None:
    for _ in examples.epoch(0):
        pass


def _train(model: AnyModel, examples: TrainingInput, steps: int | None = None) -> None:
    model.fit(examples.epoch(0).take(-1 if steps is None else steps), epochs=1, verbose=0)


def _report(
    watches: dict[str, Stopwatch], samples: int, round_number: int, arguments: argparse.Namespace
) -> None:
    ready = watches["ready"]
    for name, watch in watches.items():
        print_measure(
            _NAME,
            program=name,
            samples=samples,
            round=round_number,
            samples_per_second=samples / watch.seconds,
            samples_per_cpu_second=samples / watch.cpu_seconds,
            ready_to_this=ready.seconds / watch.seconds,
            ready_to_this_cpu=ready.cpu_seconds / watch.cpu_seconds,
            backbone=arguments.backbone,
            adapter=arguments.adapter,
            match=arguments.match,
            batch_size=arguments.batch_size,
            history=arguments.history,
            seed=arguments.seed,
        )


if __name__ == "__main__":
    main()
