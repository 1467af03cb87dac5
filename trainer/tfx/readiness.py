"""Whether the pipeline can run, what blesses a model, where it writes, and what people see."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from absl import logging as absl_logging
from pydantic import Field

from configs.command_line import CommandError, say
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from configs.section import Metavar, Section
from preprocessing.records.contract import CTR, PARTS
from preprocessing.records.layout import WorkDirectory

_STARTED = re.compile(r"Component (\S+) is running\.")

# ML Metadata's wheels lack a query language; TFX then filters by itself and says so at every step.
_HARMLESS = ("ZetaSQL", "property_predicate is not supported")


class BlessingThresholds(Section):
    """Bounds of the metrics over all examples; groups of examples have none."""

    minimum_auc: Annotated[float, Metavar("AUC")] = Field(
        0.6, ge=0, le=1, description="smallest AUC"
    )
    largest_auc_drop: Annotated[float, Metavar("X")] = Field(
        0.005,
        ge=0,
        le=1,
        description="the AUC may be lower than that of the last blessed model by X",
    )
    calibration_factor: Annotated[float | None, Metavar("F")] = Field(
        1.5,
        ge=1,
        description="the mean score may be off the mean label by a factor of F either way; not "
        "asked where training.class_weights differ, whose scores are no probabilities",
    )


@dataclass(frozen=True)
class PipelineFolders:
    """Everything that the pipeline leaves behind.

    Attributes:
      root: the folder around it all.
    """

    root: Path

    @property
    def artifacts(self) -> Path:
        """A folder per component, and in it one per run: examples, statistics, models, ..."""
        return self.root / "artifacts"

    @property
    def metadata(self) -> Path:
        """ML Metadata (SQLite): what was run on what, and which models were blessed."""
        return self.root / "metadata.sqlite"

    def pushed(self, model_name: str) -> Path:
        """Model base path for a server: a version folder per blessed model."""
        return self.root / "pushed" / model_name


def say_components() -> None:
    """Says which component runs, and hides what else TFX logs below the level of warnings."""
    # Through absl, because libraries restore the level that absl knows of.
    absl_logging.set_verbosity(absl_logging.INFO)
    absl_logging.get_absl_logger().addFilter(_is_for_people)


def _is_for_people(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if started := _STARTED.fullmatch(message):
        say(f"tfx: {started[1]}")
    return record.levelno >= logging.WARNING and not any(text in message for text in _HARMLESS)


def require_ready(scenario: Scenario) -> None:
    """Checks the kind of model, the work directory, and whether TFX is there.

    Raises:
      ConfigurationError: the model is no ranking model, there is no such model, its training
        would need several processes, knowledge is missing, or the data was built from other files
        than the scenario names.
      preprocessing.records.contract.DamagedRecords: examples are missing or damaged.
      FileNotFoundError: a step of preprocessing has not been run.
      CommandError: TFX is not installed.
    """
    from preprocessing.records.tfrecord_file import check_intact
    from trainer.distribution.cluster import require_one_process
    from trainer.evaluation.runs import kind_of
    from trainer.tables import data_fingerprint, require_knowledge, require_named_inputs

    kind = kind_of(scenario)
    if kind != CTR:
        raise ConfigurationError(
            f"model.backbone '{scenario.model.backbone}' is trained on '{kind}' examples, and the "
            "pipeline judges by AUC over single candidates; take a ranking model such as din, or "
            "use 'python -m trainer train'"
        )
    require_one_process(scenario.training, "TFX's Trainer runs")
    require_knowledge(scenario)
    examples = WorkDirectory(scenario.work_dir).examples
    for part in PARTS:
        for shard in examples.shards(part):
            check_intact(shard)
    data_fingerprint(scenario)
    require_named_inputs(scenario)
    if importlib.util.find_spec("tfx") is None:
        raise CommandError(
            f"TFX is not installed for {sys.executable}. It has an environment of its own: run "
            "'make tfx', which creates .venv-tfx, and from then on "
            "'.venv-tfx/bin/python -m trainer.tfx_pipeline ...'"
        )
