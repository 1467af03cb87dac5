"""Whether the data of an experiment is there and its models can be built, before any is trained."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from models.building import build_model
from preprocessing.records.layout import WorkDirectory
from trainer.experiments.grid import Cell
from trainer.model_errors import reason_of
from trainer.preparation import ExampleStore
from trainer.run_folder import create_weights


def require_ready(cells: Sequence[Cell], store: ExampleStore) -> None:
    """Reads the tables of every cell and builds its model once.

    Args:
      cells: of the experiment.
      store: keeps the tables.

    Raises:
      CommandError: knowledge of a source has not been encoded.
      ConfigurationError: the data was built with other settings, or a model cannot be built.
      preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
    """
    _require_knowledge(cells)
    for cell in cells:
        tables = store.tables(cell.scenario)
        tf.keras.backend.clear_session()
        try:
            create_weights(build_model(cell.scenario, tables))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"experiment, arm '{cell.arm}' of '{cell.backbone}': the model cannot be built: "
                f"{reason_of(error)}"
            ) from error


def _require_knowledge(cells: Sequence[Cell]) -> None:
    readers: dict[str, list[str]] = {}
    for cell in cells:
        work = WorkDirectory(cell.scenario.work_dir)
        # Where nothing was built at all, reading the tables says what to do.
        if work.examples.manifest.exists():
            for source in cell.scenario.knowledge_sources():
                if not work.knowledge(source).manifest.exists():
                    readers.setdefault(source, []).append(cell.arm)
    if readers:
        listed = "; ".join(
            f"'{source}' (arms {', '.join(dict.fromkeys(arms))})"
            for source, arms in readers.items()
        )
        options = "".join(f" --source {source}" for source in readers)
        raise CommandError(
            f"{cells[0].scenario.work_dir} has no knowledge vectors of {listed}; run 'python -m "
            f"preprocessing encode --config FILE.yaml{options}'"
        )
