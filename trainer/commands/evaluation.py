"""The commands that judge finished models: `evaluate` and `compare`."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from configs.command_line import (
    add_field_options,
    add_json_option,
    keys_help,
    say,
    set_up_tensorflow,
)
from configs.experiment import Evaluation
from configs.files import require_file_name, require_folder_name
from configs.loading import ConfigurationError, load_scenario, override_scenario, parse_override
from configs.scenario import Scenario
from configs.section import Metavar, Section
from trainer.evaluation.slices import SLICES_HELP, chosen_slices

if TYPE_CHECKING:
    import numpy as np

    from configs.command_line import Subparsers
    from preprocessing.records.leak_rule import LeakRule
    from trainer.comparison import Divisions
    from trainer.evaluation.part_metrics import PartMetrics
    from trainer.predictions import Predictions


_SECTION = "evaluation."
_OPTIONS_OF_COMPARE = {
    "evaluation.bootstrap_resamples": "--resamples",
    "evaluation.bootstrap_seed": "--seed",
}
"""Key -> the option of 'compare' that says the same there."""

EVALUATE_KEYS = tuple(f"{_SECTION}{name}" for name in Evaluation.model_fields)
COMPARE_KEYS = tuple(
    key for key in EVALUATE_KEYS if key not in (*_OPTIONS_OF_COMPARE, "evaluation.calibration_bins")
)
"""Keys of the scenario that a command goes by."""


class EvaluationOptions(Section):
    """Which examples a model is judged on."""

    part: Literal["train", "validation", "test"] = Field(
        "test", description="examples of which part of the split"
    )
    slices: Annotated[str | None, Metavar("NAMES")] = Field(
        None,
        description="also for groups of users and items: names joined by commas, e.g. "
        "item_popularity,item.genres, or 'all'",
    )


def with_evaluation(
    scenario: Scenario, overrides: Sequence[str], effective: Collection[str]
) -> Scenario:
    """A run's scenario, judged in another way.

    Args:
      scenario: the run's own.
      overrides: `evaluation.<key>=<value>`.
      effective: the keys that the command goes by.

    Raises:
      ConfigurationError: an override is of another section, unknown, without effect, or its value
        is not allowed.
    """
    assignments = dict(parse_override(override) for override in overrides)
    for key in assignments:
        if not key.startswith(_SECTION):
            raise ConfigurationError(
                f"override '{key}': a run keeps the configuration it was trained with; only "
                f"{_SECTION}<key> can be changed here"
            )
    judged = override_scenario(scenario, assignments) if assignments else scenario
    for key in assignments:
        if key not in effective:
            option = _OPTIONS_OF_COMPARE.get(key)
            where = f"; 'compare' has {option} in its place" if option else ""
            raise ConfigurationError(f"{key} has no effect here; leave it out{where}")
    return judged


_EVALUATE_HELP = f"""\
Scores one part of the data with a finished run, or with an exported SavedModel, and prints its
metrics. The kind of model follows from what is judged. Scores go to a file, batch by batch, and are
sorted on disk: memory does not grow with the part (docs/evaluation.md has every formula). Folders
for that are made where TMPDIR says; 100 million samples take about 6 GB there.

ranking models (n samples) and re-rankers (n candidates):
  auc                 area under the ROC curve over all samples, exact
  logloss             mean negative log likelihood, in nats
  gauc                mean of the users' own AUCs, weighted by their samples; users of one class are
                      left out (users_of_one_class)
  gauc_mean           the same without weights
  normalised_entropy  logloss over that of the base rate as everybody's score; below 1 is better
  calibration_ratio   mean score over base rate; 1 is calibrated
  calibration_error   mean |mean score - share of positives| over bins of equal numbers of samples
                      (evaluation.calibration_bins), which 'reliability' in the JSON has
  tasks               the same by further task, with model.tasks
means over lists that have a positive sample, for k = 1, 3, 5, 7 and 10. A list is what a re-ranker
sees, or all samples of a user (of which equal scores stand in a fixed random order); a k beyond its
end counts the whole list:
  ndcg_at_k           gain 2^y - 1 and discount 1 / log2(1 + place), over that of the best order
  map_at_k            sum of the precisions at the hits among the first k, over min(k, positives)
  map_hits_at_k       the same sum over the number of hits among the first k (REKI's convention)
  mrr                 1 / place of the first positive sample
  hit_rate_at_k       share of lists with a positive sample among the first k
With training.list_loss=listwise a score is a candidate's share of its list, not a probability, so
what compares candidates of different lists (auc, logloss, calibration) says little.

retrieval models (n examples, one chosen item each), exact over all items of the catalogue, for
k = 1, 5, 10, 50 and 100 (equal scores count as in a random order):
  recall_at_k    share of examples whose item is among the first k; the hit rate
  ndcg_at_k      mean 1 / log2(1 + rank), 0 beyond the first k
  mrr            mean 1 / rank
  new_items_...  the same where the other items of the user's history are no candidates (history as
                 the example has it, data.history_length); so retrieval is served, and training
                 and compare go by new_items_recall_at_10
  factorized_top_k  recall_at_k once more by TensorFlow Recommenders' FactorizedTopK, as a check; of
                 runs only

A SavedModel is a folder with saved_model.pb, or with numbered version folders of which the highest
is taken. It knows no data: --config and overrides name it, best those of the exported run
(RUN/config.yaml).

{SLICES_HELP}
A group in which a metric has no value says why ('reason'); fewer than evaluation.sparse_below
samples are marked ('sparse').

Choose between models on the validation part; read the test part once, at the end.

examples:
  python -m trainer evaluate RUN --part test \\
      --predictions scores.parquet
  python -m trainer evaluate RUN --slices all \\
      --report out/evaluation evaluation.item_popularity_bounds=[1,10,100]
  python -m trainer evaluate out/export --config configs/movielens_small.yaml
"""


class EvaluateOptions(EvaluationOptions):
    """Options of the command."""

    config: Annotated[str | None, Metavar("FILE.yaml")] = Field(
        None, description="the scenario that names a SavedModel's data"
    )
    predictions: Annotated[str | None, Metavar("FILE.parquet")] = Field(
        None,
        description="keep the scores: user_id, item_id, label and score of every sample (and "
        "label_<task>, score_<task>); of every candidate, with list_id; for retrieval user_id, "
        "item_id, rank, rank_new_items and their ties of every example; and what --slices reads",
    )
    report: Annotated[str | None, Metavar("FOLDER")] = Field(
        None,
        description="also write metrics.json, slices.csv, slices.md, reliability.png and "
        "slices.png",
    )
    gates: bool = Field(
        False,
        description="also give the mean gate weights of the part's items and users that have "
        "knowledge: 'gates' of the adapter's experts, 'factor_weights' of model.factor_gate; of "
        "runs, and with the part in memory",
    )


def add_evaluate(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="metrics of a finished run or of a SavedModel",
        description=_EVALUATE_HELP,
        epilog=keys_help(EVALUATE_KEYS),
    )
    parser.add_argument("folder", metavar="FOLDER", help="a run folder, or a SavedModel's")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted overrides: of evaluation.<key> for a run, of any for a SavedModel's data",
    )
    add_field_options(parser, EvaluateOptions)
    add_json_option(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Evaluates and prints the metrics."""
    set_up_tensorflow()

    from preprocessing.records.leak_rule import leak_cautions, leak_rule_result, leak_rules
    from trainer.evaluation.exports import saved_model_in
    from trainer.evaluation.reports import print_part
    from trainer.run_folder import RunFolder

    if arguments.predictions:
        require_file_name("--predictions", Path(arguments.predictions))
    if arguments.report:
        require_folder_name("--report", Path(arguments.report))
    saved_model = saved_model_in(arguments.folder)
    report = RunFolder(arguments.report) if arguments.report else None
    if report is not None and report.config.is_file() and report.history.is_file():
        raise ConfigurationError(
            f"--report {arguments.report}: this is the folder of a run, whose metrics.json would "
            f"be replaced; name another, for example {Path(arguments.report) / 'report'}"
        )
    if saved_model is None:
        scenario, kind, part_metrics, further = _evaluate_run(arguments)
    else:
        scenario, kind, part_metrics, further = _evaluate_export(saved_model, arguments)
    rules = leak_rules(scenario)
    result: dict[str, object] = {arguments.part: part_metrics.metrics}
    if part_metrics.slices:
        result["slices"] = part_metrics.slices
    if part_metrics.reliability:
        result["reliability"] = [asdict(each) for each in part_metrics.reliability]
    result |= {**further, "leak_rule": leak_rule_result(rules)}
    print_part(f"{arguments.folder}, {arguments.part}", kind, part_metrics)
    for caution in leak_cautions(rules):
        say(f"{arguments.folder}: {caution}")
    if arguments.report:
        from trainer.evaluation.plots import write_report

        write_report(Path(arguments.report), kind, part_metrics, result)
    return result


def _evaluate_run(
    arguments: argparse.Namespace,
) -> tuple[Scenario, str, PartMetrics, dict[str, object]]:
    """Scenario and kind of the model, its metrics, and what else is said about a run."""
    from models.retrieving import RetrievalModel
    from trainer.evaluation.runs import FactorizedTopK, evaluate_scores_of, run_scores
    from trainer.run_folder import RunFolder

    if arguments.config:
        raise ConfigurationError(
            f"--config: {arguments.folder} is a run, which has its own configuration; leave "
            "--config out"
        )
    folder = RunFolder(arguments.folder)
    scenario = with_evaluation(folder.read_scenario(), arguments.overrides, EVALUATE_KEYS)
    slices = _slices(arguments, scenario)
    _, model = folder.load_model()
    further: dict[str, object] = {}
    is_search = isinstance(model, RetrievalModel)
    if is_search:
        check = FactorizedTopK(model)
        scores = run_scores(scenario, model, arguments.part, check.add)
    else:
        scores = run_scores(scenario, model, arguments.part)
    part_metrics = evaluate_scores_of(scores, slices, _predictions(arguments))
    if is_search:
        further["factorized_top_k"] = check.shares()
    if arguments.gates:
        further |= _gates(scenario, model, arguments.part)
    return scenario, model.kind, part_metrics, further


def _evaluate_export(
    saved_model: Path, arguments: argparse.Namespace
) -> tuple[Scenario, str, PartMetrics, dict[str, object]]:
    from trainer.evaluation.exports import export_scores
    from trainer.evaluation.runs import evaluate_scores_of

    if not arguments.config:
        raise ConfigurationError(
            f"{saved_model} is a SavedModel, which names no data; add --config FILE.yaml, for "
            "example the config.yaml of the run that was exported"
        )
    if arguments.gates:
        raise ConfigurationError("--gates: an export has no gates; name the run it was made of")
    scenario = load_scenario(arguments.config, arguments.overrides)
    slices = _slices(arguments, scenario)
    scores = export_scores(saved_model, scenario, arguments.part)
    part_metrics = evaluate_scores_of(scores, slices, _predictions(arguments))
    return scenario, scores.kind, part_metrics, {}


def _slices(arguments: argparse.Namespace, scenario: Scenario) -> list[str]:
    return [] if arguments.slices is None else chosen_slices(arguments.slices, scenario)


def _predictions(arguments: argparse.Namespace) -> Path | None:
    return Path(arguments.predictions) if arguments.predictions else None


def _gates(scenario: Scenario, model: Any, part: str) -> dict[str, object]:
    from trainer.examples import read_prepared_examples
    from trainer.inspection import expert_gates, factor_weights

    examples = read_prepared_examples(scenario, model.inputs_preparation, part, model.kind)
    experts = expert_gates(model, examples)
    factors = factor_weights(scenario, model, examples)
    say(_gates_text(experts, factors))
    return {
        "gates": {source: weights.tolist() for source, weights in experts.items()},
        "factor_weights": factors,
    }


def _gates_text(
    experts: Mapping[str, np.ndarray], factors: Mapping[str, Mapping[str, float]]
) -> str:
    """Lines for people, one per gate."""
    lines = [
        f"experts of source '{source}': {', '.join(f'{weight:.3f}' for weight in weights)}"
        for source, weights in experts.items()
    ]
    lines += [
        f"factors of each {entity}: "
        + ", ".join(f"{source} {weight:.3f}" for source, weight in weights.items())
        for entity, weights in factors.items()
    ]
    return "\n".join(lines) or "the model has no gates"


_COMPARE_HELP = f"""\
Compares two models of one kind on the same examples. A model may have several runs (seeds), joined
by commas; its metric is their mean.
  ranking models     auc
  re-rankers         auc over all candidates, and ndcg_at_10, the mean over lists
  retrieval models   new_items_recall_at_10, among all items but those of the history

Two answers to whether a difference is more than chance:
  bootstrap  paired, over users: a 95 % interval and a p-value. The samples of a user go together,
             so it says what other users would have shown. With two runs or more on each side it
             also says what other seeds would have shown; with a single run it does not, and two
             seeds of one model may then look different. B resamples give no p-value below
             2 / (B + 1).
  DeLong     of the AUC: takes every sample as independent of all others, which those of one user
             are not, and the runs as they are; usually too sure.

{SLICES_HELP}
With --slices both are made in every group; holm_p_value is the p-value corrected for the number of
groups looked at, of all slices together. With many groups take more --resamples.

examples:
  python -m trainer compare runs/din_none_seed1,runs/din_none_seed2,runs/din_none_seed3 \\
      runs/din_hein-item_seed1,runs/din_hein-item_seed2,runs/din_hein-item_seed3
  python -m trainer compare runs/din_none_seed1 runs/din_hein-item-user_seed1 \\
      --slices cold_item,knowledge.item --resamples 5000

JSON: n examples, users, runs_a and runs_b; <metric>_a, <metric>_b and <metric>_difference of every
metric; ci_low, ci_high, p_value, relative_lift and seed_standard_error of the first one,
<metric>_ci_low and so on of the second; covers_seeds, and seeds, which says it in words; delong
with standard_error, ci_low, ci_high and p_value. relative_lift is null where model A has 0,
seed_standard_error where a side has a single run. leak_rule_a, leak_rule_b: what is known of each
source that the model reads. slices: slice -> group -> the same, with
holm_p_value beside each p_value, or a reason.
"""


class CompareOptions(EvaluationOptions):
    """Options of the command."""

    resamples: int = Field(1000, ge=1, description="bootstrap resamples")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")


def add_compare(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "compare",
        help="difference of two models with an interval",
        description=_COMPARE_HELP,
        epilog=keys_help(COMPARE_KEYS),
    )
    parser.add_argument(
        "baseline",
        type=_folders,
        metavar="A",
        help="run folder(s) of the baseline, joined by commas",
    )
    parser.add_argument(
        "candidate",
        type=_folders,
        metavar="B",
        help="run folder(s) of the candidate, joined by commas",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="evaluation.key=value",
        help="how slices are made, e.g. evaluation.item_popularity_bounds=[1,10]",
    )
    add_field_options(parser, CompareOptions)
    add_json_option(parser)
    parser.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Evaluates all runs and prints the differences."""
    set_up_tensorflow()

    from preprocessing.records.leak_rule import leak_cautions, leak_rule_result
    from trainer.comparison import (
        compare_models,
        compare_slices,
        result_of,
        sentences,
        slice_results,
        slice_rows,
    )
    from trainer.evaluation.reports import print_table
    from trainer.evaluation.runs import predict_run, require_one_kind
    from trainer.examples import ExampleStore
    from trainer.run_folder import RunFolder

    folders = [arguments.baseline, arguments.candidate]
    require_one_kind([folder for side in folders for folder in side])
    scenario = with_evaluation(
        RunFolder(arguments.baseline[0]).read_scenario(), arguments.overrides, COMPARE_KEYS
    )
    slices = [] if arguments.slices is None else chosen_slices(arguments.slices, scenario)
    store = ExampleStore()
    baseline, candidate = (
        [predict_run(folder, arguments.part, store) for folder in side] for side in folders
    )
    resamples, seed = arguments.resamples, arguments.seed
    whole = compare_models(baseline, candidate, resamples, seed)
    for sentence in sentences(whole):
        say(f"{arguments.part}: {sentence}")
    rules = {side: _leak_rules(runs) for side, runs in zip("ab", folders, strict=True)}
    for side, leak_rules in rules.items():
        for caution in leak_cautions(leak_rules):
            say(f"model {side.upper()}: {caution}")
    result: dict[str, object] = {
        "part": arguments.part,
        **result_of(whole),
        "runs_a": len(baseline),
        "runs_b": len(candidate),
        **{f"leak_rule_{side}": leak_rule_result(rule) for side, rule in rules.items()},
    }
    if slices:
        divisions = _divisions(scenario, arguments.part, baseline[0], slices)
        slice_comparisons = compare_slices(baseline, candidate, divisions, resamples, seed)
        sparse_below = scenario.evaluation.sparse_below
        result["slices"] = slice_results(slice_comparisons, sparse_below)
        print_table(*slice_rows(slice_comparisons, sparse_below), sections=True)
    return result


def _leak_rules(folders: Sequence[str]) -> dict[str, LeakRule]:
    """What is known of each source that one of the runs reads, the worst where they differ."""
    from preprocessing.records.leak_rule import LeakRule, leak_rules
    from trainer.run_folder import RunFolder

    order = list(LeakRule)
    rules: dict[str, LeakRule] = {}
    for folder in folders:
        for source, rule in leak_rules(RunFolder(folder).read_scenario()).items():
            rules[source] = max(rules.get(source, rule), rule, key=order.index)
    return rules


def _divisions(
    scenario: Scenario, part: str, predictions: Predictions, slices: Sequence[str]
) -> Divisions:
    from trainer.evaluation.part_scores import PartScores, divided_rows
    from trainer.evaluation.runs import kind_of

    return divided_rows(PartScores(scenario, part, kind_of(scenario), (), [predictions]), slices)


def _folders(text: str) -> list[str]:
    folders = text.split(",")
    if not all(folder.strip() for folder in folders):
        raise argparse.ArgumentTypeError(
            f"expected run folders joined by commas, without spaces. Received: {text!r}, where a "
            "name is empty"
        )
    runs = [Path(folder).resolve() for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if runs.count(run) > 1:
            raise argparse.ArgumentTypeError(
                f"{folder} stands there twice, and a run compared with itself says nothing about "
                f"seeds; name every run once. Received: {text!r}"
            )
    return folders
