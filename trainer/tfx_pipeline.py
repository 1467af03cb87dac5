"""The TFX pipeline's door: `python -m trainer.tfx_pipeline`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from configs.command_line import (
    EXIT_CODES_HELP,
    TeachingParser,
    add_field_options,
    add_json_option,
    add_scenario_options,
    run_command,
    say,
    scenario_of,
    section_of,
    set_up_tensorflow,
)
from configs.section import Metavar, Section
from trainer.tfx.readiness import BlessingThresholds, PipelineFolders, require_ready
from trainer.tfx.slice_features import USER_ACTIVITY, check_slices
from trainer.tfx.summary import summary

_HELP = """\
Trains a ranking model, judges it and pushes it to where a server finds it, as a TFX pipeline on
this machine:

  ImportExampleGen    the TFRecords of the work directory: train, eval (our validation) and test
  StatisticsGen       statistics of every feature, per split
  SchemaGen           the schema that the training examples suggest
  ExampleValidator    do the other splits look like it? ContractValidator: do all splits keep the
                      schema of the work directory?
  Trainer             serving.run_fn: a run folder and a SavedModel
  Evaluator           AUC, logloss and calibration on test, over all examples and in slices; the
                      model is blessed if it reaches the thresholds, one of which is the AUC of the
                      last blessed model of the same serving.model_name
  Pusher              a blessed model becomes a version in PIPELINE_ROOT/pushed/<serving.model_name>

It needs TFX in a Python environment of its own, .venv-tfx, which 'make tfx' creates. Artifacts and
ML Metadata are in PIPELINE_ROOT; docs/tfx.md explains them.

example:
  python -m preprocessing all --config configs/movielens_small.yaml
  .venv-tfx/bin/python -m trainer.tfx_pipeline --config configs/movielens_small.yaml \\
      --slice user_activity --slice user_fold
  python -m serving serve --model movielens=out/tfx/pushed/movielens --grpc-port 8500

JSON: blessed, failures (thresholds not reached), test and baseline (auc, logloss, calibration,
mean_label, mean_score, n), slices (feature -> value -> the same), anomalies, pushed (folder) and
version, null if nothing was pushed, run, evaluation. A model that is not blessed is no error.
"""


class PipelineOptions(Section):
    """Options of a run of the pipeline, beside thresholds and slices."""

    train_steps: int | None = Field(
        None, ge=1, description="training ends after N steps; by default after training.epochs"
    )
    eval_steps: int | None = Field(
        None,
        ge=1,
        description="validate N batches of training.batch_size; by default all of the eval split",
    )
    pipeline_root: Annotated[Path, Metavar("DIR")] = Field(
        Path("out/tfx"), description="folder for everything"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the pipeline and returns the exit code."""
    parser = TeachingParser(
        prog="python -m trainer.tfx_pipeline", description=_HELP, epilog=EXIT_CODES_HELP
    )
    add_scenario_options(parser)
    add_field_options(parser, PipelineOptions)
    parser.add_argument(
        "--slice",
        action="append",
        metavar="FEATURE",
        help="judge the examples of each value of FEATURE apart, without thresholds; may be "
        f"repeated (default {USER_ACTIVITY})",
    )
    add_field_options(
        parser.add_argument_group("thresholds of a blessing, over all test examples"),
        BlessingThresholds,
    )
    add_json_option(parser)
    return run_command(run, parser.parse_args(arguments))


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Runs the pipeline, and says and returns what came out."""
    scenario = scenario_of(arguments)
    slices = check_slices(arguments.slice or [USER_ACTIVITY], scenario.data)
    set_up_tensorflow()
    require_ready(scenario)

    from tfx import v1 as tfx

    from trainer.tfx.pipeline import TrainerSettings, build_pipeline, evaluator_config
    from trainer.tfx.readiness import say_components
    from trainer.tfx.results import read_results

    folders = PipelineFolders(arguments.pipeline_root.absolute())
    folders.root.mkdir(parents=True, exist_ok=True)
    thresholds = section_of(arguments, BlessingThresholds)
    if scenario.training.class_weights != (1.0, 1.0):
        thresholds = thresholds.model_copy(update={"calibration_factor": None})
    settings = TrainerSettings(
        custom_config={"config": arguments.config, "overrides": arguments.overrides},
        train_steps=arguments.train_steps or 0,
        eval_steps=arguments.eval_steps or 0,
    )
    say_components()
    tfx.orchestration.LocalDagRunner().run(
        build_pipeline(scenario, settings, evaluator_config(thresholds, slices), folders)
    )
    result = read_results(folders)
    for line in summary(result):
        say(line)
    return dict(result)


if __name__ == "__main__":
    sys.exit(main())
