"""The command `python -m trainer evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import add_json_option, say

if TYPE_CHECKING:
    import numpy as np

    from configs.command_line import Subparsers

_HELP = """\
Scores one part of the data with a finished run and prints its metrics. The kind of model follows
from the run.

ranking models (n samples):
  auc            area under the ROC curve over all samples, exact
  logloss        mean negative log likelihood, in nats
  gauc           mean of the users' own AUCs, weighted by their samples; users of one class are left
                 out
  tasks          the same by further task, with model.tasks

re-rankers (n candidates in 'lists' lists): auc, logloss and gauc over all candidates; means over
lists, without the lists_without_positive, for k = 1, 3, 5, 7 and 10 (a k beyond the end of a list
counts the whole list; equal scores keep the order of the list, which is shuffled):
  ndcg_at_k      gain 2^y - 1 and discount 1 / log2(1 + place), over that of the best order
  map_at_k       sum of the precisions at the hits among the first k, over min(k, positives)
  map_hits_at_k  the same sum over the number of hits among the first k (REKI's convention)
With training.list_loss=listwise a score is a candidate's share of its list, not a probability, so
auc, logloss and gauc, which compare candidates of different lists, say little.

retrieval models (n examples, one chosen item each), exact over all items of the catalogue, for
k = 1, 5, 10, 50 and 100 (equal scores count as in a random order):
  recall_at_k    share of examples whose item is among the first k; the hit rate
  ndcg_at_k      mean 1 / log2(1 + rank), 0 beyond the first k
  mrr            mean 1 / rank
  new_items_...  the same where the other items of the user's history are no candidates (history as
                 the example has it, data.history_length); so retrieval is served, and training
                 and compare go by new_items_recall_at_10
  factorized_top_k  recall_at_k once more by TensorFlow Recommenders' FactorizedTopK, as a check

Choose between models on the validation part; read the test part once, at the end.

example:
  python -m trainer evaluate out/movielens_small/runs/din_hein-item-user_seed1 --part test \\
      --predictions scores.parquet
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser("evaluate", help="metrics of a finished run", description=_HELP)
    parser.add_argument("folder", metavar="RUN", help="a run folder")
    add_part_option(parser)
    parser.add_argument(
        "--predictions",
        metavar="FILE.parquet",
        help="also write user_id, item_id, label and score of every sample (and label_<task>, "
        "score_<task>); of every candidate, with list_id; for retrieval user_id, item_id, rank and "
        "rank_new_items of every example",
    )
    parser.add_argument(
        "--gates",
        action="store_true",
        help="also give the mean gate weights of the part's items and users that have knowledge: "
        "'gates' of the adapter's experts, 'factor_weights' of model.factor_gate",
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def add_part_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--part`."""
    parser.add_argument(
        "--part",
        choices=("train", "validation", "test"),
        default="test",
        help="examples of which part of the split (default test)",
    )


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Evaluates and prints the metrics."""
    from preprocessing.records.contract import RETRIEVAL
    from trainer.evaluation import read_run
    from trainer.factorized_top_k import factorized_top_k
    from trainer.inspection import expert_gates, factor_weights
    from trainer.metric_names import summary
    from trainer.prediction import predict

    scenario, model, examples = read_run(arguments.folder, arguments.part)
    predictions = predict(model, examples)
    if arguments.predictions:
        predictions.write(Path(arguments.predictions))
    metrics = predictions.metrics()
    say(
        f"{arguments.folder}, {arguments.part}: {summary(metrics)}, "
        f"{metrics['n']} {predictions.examples_name}"
    )
    result: dict[str, object] = {arguments.part: metrics}
    if model.kind == RETRIEVAL:
        result["factorized_top_k"] = factorized_top_k(model, examples)
    if arguments.gates:
        experts = expert_gates(model, examples)
        result["gates"] = {source: weights.tolist() for source, weights in experts.items()}
        factors = factor_weights(scenario, model, examples)
        result["factor_weights"] = factors
        say(_gates_text(experts, factors))
    return result


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
