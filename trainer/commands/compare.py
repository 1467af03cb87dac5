"""The command `python -m trainer compare`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from configs.command_line import (
    add_field_options,
    add_json_option,
    keys_help,
    say,
    set_up_tensorflow,
)
from trainer.commands.evaluation_options import (
    COMPARE_KEYS,
    SLICE_KEYS,
    EvaluationOptions,
    with_evaluation,
)
from trainer.evaluation.slices import SLICES_HELP, chosen_slices

if TYPE_CHECKING:
    from configs.command_line import Subparsers
    from configs.scenario import Scenario
    from preprocessing.records.leak_rule import LeakRule
    from trainer.comparison import Divisions
    from trainer.predictions import Predictions

_HELP = f"""\
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
    seed: int = Field(0, description="seed of the bootstrap")


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "compare",
        help="difference of two models with an interval",
        description=_HELP,
        epilog=keys_help(SLICE_KEYS),
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
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
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
    from trainer.preparation import ExampleStore
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
    for side, found_rules in rules.items():
        for caution in leak_cautions(found_rules):
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
    return folders
