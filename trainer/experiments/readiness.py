"""Whether the data of an experiment is there and its models can be built, before any is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from models.building import build_model
from preprocessing.records.layout import WorkDirectory
from trainer.experiments.grid import Cell
from trainer.model_errors import reason_of
from trainer.preparation import ExampleStore
from trainer.run_folder import create_weights
from trainer.tables import require_named_inputs


def require_ready(cells: Sequence[Cell], store: ExampleStore) -> None:
    """Reads the tables of every cell and builds its model once.

    Args:
      cells: of the experiment.
      store: keeps the tables.

    Raises:
      CommandError: knowledge of a source has not been encoded.
      ConfigurationError: the data was built with other settings or from other files than a cell
        asks for, or a model cannot be built.
      preprocessing.records.contract.DamagedRecords: a data file is missing or damaged.
    """
    _require_knowledge(cells)
    for cell in cells:
        require_named_inputs(cell.scenario)
        tables = store.tables(cell.scenario)
        tf.keras.backend.clear_session()
        try:
            create_weights(build_model(cell.scenario, tables))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"experiment, arm '{cell.arm}' of '{cell.backbone}': the model cannot be built: "
                f"{reason_of(error)}"
            ) from error


def missing_data(cells: Sequence[Cell]) -> list[str]:
    """What of the data of an experiment was not built yet, in words; nothing is read."""
    work = WorkDirectory(cells[0].scenario.work_dir)
    examples = [] if work.examples.manifest.exists() else ["examples"]
    readers = _missing_knowledge(cells)
    return examples + [f"knowledge vectors of {text}" for text in _with_arms(readers)]


def _missing_knowledge(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Source without vectors -> the arms that read it."""
    readers: dict[str, list[str]] = {}
    for cell in cells:
        work = WorkDirectory(cell.scenario.work_dir)
        for source in cell.scenario.knowledge_sources():
            if not work.knowledge(source).manifest.exists():
                readers.setdefault(source, []).append(cell.arm)
    return readers


def _with_arms(readers: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"'{source}' (arms {', '.join(dict.fromkeys(arms))})" for source, arms in readers.items()
    ]


def _require_knowledge(cells: Sequence[Cell]) -> None:
    # Where nothing was built at all, reading the tables says what to do.
    if not WorkDirectory(cells[0].scenario.work_dir).examples.manifest.exists():
        return
    readers = _missing_knowledge(cells)
    if readers:
        listed = "; ".join(_with_arms(readers))
        options = "".join(f" --source {source}" for source in readers)
        raise CommandError(
            f"{cells[0].scenario.work_dir} has no knowledge vectors of {listed}; run 'python -m "
            f"preprocessing encode --config FILE.yaml{options}'"
        )
