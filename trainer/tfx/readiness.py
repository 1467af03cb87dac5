"""Whether the pipeline can run at all, asked before anything is started."""

from __future__ import annotations

import importlib.util
import sys

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.records.contract import CTR, PARTS
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import check_intact


def require_ready(scenario: Scenario) -> None:
    """Checks the kind of model, the work directory, and whether TFX is there.

    Raises:
      ConfigurationError: the model is no ranking model, there is no such model, or the data was
        built from other files than the scenario names.
      preprocessing.records.errors.DamagedRecords: examples are missing or damaged.
      FileNotFoundError: a step of preprocessing has not been run.
      CommandError: TFX is not installed.
    """
    from trainer.evaluation import kind_of
    from trainer.tables import fingerprint, require_named_inputs

    kind = kind_of(scenario)
    if kind != CTR:
        raise ConfigurationError(
            f"model.backbone '{scenario.model.backbone}' is trained on '{kind}' examples, and the "
            "pipeline judges by AUC over single candidates; take a ranking model such as din, or "
            "use 'python -m trainer train'"
        )
    examples = WorkDirectory(scenario.work_dir).examples
    for part in PARTS:
        for shard in examples.shards(part):
            check_intact(shard)
    fingerprint(scenario)
    require_named_inputs(scenario)
    if importlib.util.find_spec("tfx") is None:
        raise CommandError(
            f"TFX is not installed for {sys.executable}. It has an environment of its own: run "
            "'make tfx', which creates .venv-tfx, and from then on "
            "'.venv-tfx/bin/python -m trainer.tfx_pipeline ...'"
        )
