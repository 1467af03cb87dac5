"""The command `python -m trainer evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from configs.command_line import (
    add_field_options,
    add_json_option,
    keys_help,
    say,
    set_up_tensorflow,
)
from configs.loading import ConfigurationError, load_scenario
from configs.section import Metavar
from trainer.commands.evaluation_options import (
    EVALUATE_KEYS,
    EvaluationOptions,
    with_evaluation,
)
from trainer.evaluation.slices import SLICES_HELP, chosen_slices

if TYPE_CHECKING:
    import numpy as np

    from configs.command_line import Subparsers
    from configs.scenario import Scenario
    from trainer.evaluation.part_metrics import PartMetrics

_HELP = f"""\
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


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="metrics of a finished run or of a SavedModel",
        description=_HELP,
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
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Evaluates and prints the metrics."""
    set_up_tensorflow()

    from preprocessing.records.leak_rule import leak_cautions, leak_rule_result, leak_rules
    from trainer.evaluation.exports import saved_model_in
    from trainer.evaluation.reports import print_part

    saved_model = saved_model_in(arguments.folder)
    if saved_model is None:
        scenario, kind, part_metrics, further = _evaluate_run(arguments)
    else:
        scenario, kind, part_metrics, further = _evaluate_export(saved_model, arguments)
    rules = leak_rules(scenario)
    result: dict[str, object] = {arguments.part: part_metrics.metrics}
    if part_metrics.slices:
        result["slices"] = part_metrics.slices
    if part_metrics.reliability:
        result["reliability"] = [asdict(found_bin) for found_bin in part_metrics.reliability]
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
    from trainer.evaluation.runs import evaluate_scores_of, run_scores
    from trainer.factorized_top_k import FactorizedTopK
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
