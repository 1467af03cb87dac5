"""The command `python -m trainer tune`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import (
    CommandError,
    add_dry_run_option,
    add_field_options,
    add_json_option,
    add_scenario_options,
    keys_help,
    say,
    set_up_tensorflow,
)
from configs.experiment import Tuning
from trainer.tracking import add_tracking_option

if TYPE_CHECKING:
    from configs.command_line import Subparsers
    from trainer.tuning import Trial

_HELP = """\
Searches good settings with Optuna (TPE) on the validation part; the test part is not read. Any key
of the scenario that a training depends on can be searched. Ranges stand among the overrides:

  key=LOW..HIGH          numbers between two bounds       model.dropout_rate=0..0.5
  key=LOW..HIGH/STEP     at a distance from each other    model.embedding_dimension=16..64/16
  key=log:LOW..HIGH      small and large numbers alike    training.learning_rate=log:1e-4..1e-2
  key=choice:A,B,...     values                           training.batch_size=choice:256,512
                                                          'model.top_units=choice:[200,80],[64]'

Without any, experiment.tuning.space is searched. The first trial has the scenario's own settings,
if they lie in the space. Trials are ordinary run folders.

A search that was interrupted goes on when the command is given once more, and ends as an unbroken
one would have; with more --trials it goes on from its end. The folder, by default
<work_dir>/tuning/<name of the model>, then holds:
  best.yaml    the scenario with the best settings, for 'python -m trainer train'
  trials.csv   one line per trial       trials.svg   their results, by number and by setting
  study.db     Optuna's record          trial0001/   run folders

example:
  python -m trainer tune --config configs/movielens_small.yaml --trials 20 \\
      model.match=none model.prior=false 'training.learning_rate=log:1e-4..1e-2' \\
      'model.dropout_rate=0..0.5' 'training.batch_size=choice:256,512,1024'

JSON: study, metric, trials, complete, failed, pruned; best with trial, value, settings and run;
best_config, trials_csv and plot.
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "tune",
        help="search good settings on the validation part",
        description=_HELP,
        epilog=keys_help(["experiment.tuning", "model", "training"]),
    )
    add_scenario_options(parser)
    add_field_options(parser, Tuning, ("trials", "seed"), stands_for="experiment.tuning")
    parser.add_argument("--out", metavar="FOLDER", help="folder of the study")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="end trials early that are worse than the median of those before, from the sixth on",
    )
    add_dry_run_option(parser, "check the space and say what would be searched")
    add_tracking_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Searches, and writes what was found."""
    set_up_tensorflow()

    from configs.files import alone_in
    from configs.loading import ConfigurationError, load_scenario
    from trainer.distribution.cluster import require_one_process
    from trainer.experiments.trainers import Job, LocalTrainer
    from trainer.gpu import prepare_devices
    from trainer.preparation import ExampleStore
    from trainer.run_identity import default_run_folder
    from trainer.tables import require_named_inputs
    from trainer.tracking import tracking_of
    from trainer.tuning import STUDY_FILE, Study
    from trainer.tuning_results import write_results
    from trainer.tuning_space import check_space, require_space_has_effect, split_space

    overrides, space = split_space(arguments.overrides)
    choices = {key: searched.choices or () for key, searched in space.items()}
    scenario = load_scenario(arguments.config, overrides, choices)
    require_one_process(scenario.training, "a search trains each of its models in")
    tuning = scenario.experiment.tuning
    space = space or dict(tuning.space)
    trials = tuning.trials if arguments.trials is None else arguments.trials
    if not trials:
        raise ConfigurationError("say how many trials: --trials N, or experiment.tuning.trials")
    check_space(
        scenario,
        space,
        {
            "run_dir": "every trial has its own",
            "work_dir": "it is the data",
            "training.distribution": "it is where a training runs",
        },
    )
    require_space_has_effect(scenario, space)
    require_named_inputs(scenario)
    named = default_run_folder(scenario.model_copy(update={"run_dir": None})).path.name
    folder = Path(arguments.out or Path(scenario.work_dir) / "tuning" / named)
    seed = tuning.seed if arguments.seed is None else arguments.seed
    if arguments.dry_run:
        state = "goes on with" if (folder / STUDY_FILE).exists() else "would begin"
        say(f"{state} {folder}: {trials} trials over {', '.join(space)}, seed {seed}")
        return {
            "dry_run": True,
            "study": str(folder),
            "trials": trials,
            "space": {key: searched.model_dump(mode="json") for key, searched in space.items()},
            "seed": seed,
        }
    say(prepare_devices())
    tracking = tracking_of(arguments.tracking, scenario.name)
    trainer = LocalTrainer(ExampleStore(), tracking, progress=True)
    with alone_in(folder):
        study = Study(folder, scenario, space, seed, prune=arguments.prune)
        tags = {"study": str(folder)}
        study.run(
            trials,
            lambda trial, on_epoch: trainer.train(Job(trial, tags), on_epoch),
            lambda trial: say(_line(trial, trials)),
        )
        result = write_results(study, scenario, space)
    best = result["best"]
    if best is None:
        raise CommandError("no trial has a result; trials.csv has the reasons", result)
    say(f"best: trial {best['trial']}, validation {result['metric']} {best['value']:.4f}")
    say("\n".join(f"  {key}={value}" for key, value in best["settings"].items()))
    say(f"python -m trainer train --config {result['best_config']}")
    return result


def _line(trial: Trial, trials: int) -> str:
    settings = " ".join(f"{key}={value}" for key, value in trial.settings.items())
    outcome = trial.reason if trial.value is None else f"{trial.value:.4f}"
    return f"[{trial.number}/{trials}] {settings}: {trial.state} {outcome}, {trial.seconds:.0f} s"
