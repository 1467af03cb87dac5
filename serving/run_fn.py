"""The run function of TFX's Trainer: trains a scenario's model and writes its SavedModel."""

from __future__ import annotations

import tempfile
from pathlib import Path

from serving.export import export_run
from serving.options import ExportOptions
from trainer.run_fn import FnArgs, train_run


def run_fn(fn_args: FnArgs) -> None:
    """Trains a scenario's model on the given files and writes a SavedModel that can be served.

    Args:
      fn_args: what TFX's Trainer hands over; any object with the attributes of `FnArgs` will do.

    Raises:
      ConfigurationError: see `trainer.run_fn.train_run`.
      CommandError: see there, and `serving.export.export_run`.
    """
    train_run(fn_args, _export)


def _export(run: Path, destination: Path) -> None:
    """Writes the SavedModel itself into a folder, without a version folder between."""
    # TFX has an environment of its own, without the server and without what a card is made with;
    # its Evaluator judges the model.
    options = ExportOptions(proof="quick", card_part="none")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=destination.parent) as base:
        Path(export_run(run, base, options)["path"]).rename(destination)
