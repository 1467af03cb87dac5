"""What links are worth to a logistic regression in the place of the network, and by which settings.

It reads the running statistics of user and item, as the network does, and what is probed: match
features, priors, user links. It is fitted in seconds, so that settings can be compared each of
which would cost the network a training. Match and means are plain NumPy over the model's own
samples and residuals. Choices are made on validation; test is read for user links alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from configs.command_line import (
    TeachingParser,
    add_json_option,
    run_command,
    say,
    set_up_tensorflow,
)
from configs.loading import load_scenario
from configs.model import Prior
from configs.scenario import Scenario
from configs.text_table import aligned
from models.reduction import (
    cluster_landmarks,
    known_rows,
    mean_vector,
    nystroem_features,
    unit_rows,
)
from preprocessing.beam_options import silence_beam_import_logs
from preprocessing.links.linking import LINKS_FILE, read_links
from preprocessing.links.spectral import graph_of_table
from preprocessing.links.step import link
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import WorkDirectory

CONFIG = "configs/movielens_small.yaml"
WORK_DIR = "out/movielens_small"
LINKS, TEXT, USER_LINKS = "links", "title_genres", "user_links"
_SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((LINKS, {"length_scale": scale}) for scale in (0.25, 0.35, 0.5, 0.7, 1.0, 2.0)),
    *((LINKS, {"landmarks": 128, "length_scale": scale}) for scale in (0.5, 1.0, 2.0)),
    *((LINKS, {"noise": noise}) for noise in (0.5, 2.0, 4.0)),
    *((LINKS, {"bias": bias}) for bias in (0.1, 1.0)),
    *((TEXT, {"length_scale": scale}) for scale in (0.5, 1.0, 2.0)),
)
_HALF_TRUSTED_RATINGS, _WEIGHT_OF_THE_MEAN = 10.0, 0.3
_SAMPLES_AT_ONCE = 256
_RESAMPLES = 1000

Columns = Mapping[str, np.ndarray]
"""Part -> [samples, columns], NaN where nothing is known."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ProbeSamples:
    """The samples of one part. Rows are those of the catalogue, from 1; 0 is no item.

    Attributes:
      labels: [samples], 1 or 0.
      users: [samples], ids.
      folds: [samples], the fold of users that item statistics leave out; -1 for none.
      items: [samples], rows of the candidates.
      numeric: [samples, numbers], running statistics; the first three are the user's.
      history: [samples, length], rows of earlier items behind zeros, the newest last.
      residuals: [samples, length], ratings of the history less the items' means.
    """

    labels: np.ndarray
    users: np.ndarray
    folds: np.ndarray
    items: np.ndarray
    numeric: np.ndarray
    history: np.ndarray
    residuals: np.ndarray


def main(arguments: Sequence[str] | None = None) -> int:
    """Probes everything and returns the exit code."""
    parser = TeachingParser(
        prog="python -m examples.movielens_small.link_probe",
        description=f"{__doc__}\nSteps that are not finished in the work directory are run first.",
    )
    parser.add_argument(
        "--work-dir", default=WORK_DIR, help=f"folder of samples and vectors (default {WORK_DIR})"
    )
    add_json_option(parser)
    parsed = parser.parse_args(arguments)
    silence_beam_import_logs()
    set_up_tensorflow()
    return run_command(_run, parsed)


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    from preprocessing.encode import encode
    from preprocessing.examples import build_examples

    # The prepared samples of a match that is learned hold the histories.
    overrides = [
        *("model.match=ridge", "model.knowledge_match.learned=true"),
        *("model.adapter=none", "model.knowledge_match.form=exact"),
        f"model.knowledge_match.sources=[{LINKS}, {TEXT}]",
    ]
    scenario = load_scenario(CONFIG, [f"work_dir={arguments.work_dir}", *overrides])
    build_examples(scenario)
    encode(scenario, sources=[LINKS, TEXT])
    link(scenario, sources=[USER_LINKS])
    samples, contents, vectors = _read(scenario)
    item_links, user_links = (
        read_links(WorkDirectory(scenario.work_dir).links(source).path / LINKS_FILE, entity)
        for source, entity in ((LINKS, "item"), (USER_LINKS, "user"))
    )
    first_samples = first_interactions(samples, scenario.split.knowledge_history_cap)
    user_samples = {
        part: user_link_features(
            vectors[LINKS], user_links, contents.item_ids, rows.users, rows.items
        )
        for part, rows in samples.items()
    }
    # Matrices are so small that threads would wait for each other at length.
    with threadpool_limits(limits=1):
        match = _chosen_match(samples, vectors)
        match_of_first = _chosen_match(first_samples, vectors)
        return {
            "samples": {part: len(rows.labels) for part, rows in samples.items()},
            "named": _shares_of_named(samples, user_samples),
            "user_links": _user_links_table("all", samples, match, user_samples),
            "user_links_first": _user_links_table(
                "first k_u", first_samples, match_of_first, user_samples
            ),
            "prior": _prior_table(
                samples, match, vectors, contents, linked_means(contents, item_links)
            ),
            "match": _match_table(samples, vectors),
        }


def _read(scenario: Scenario) -> tuple[dict[str, ProbeSamples], Any, dict[str, np.ndarray]]:
    """Samples, catalogue, and by source vectors [items, width], zeros for an item without one."""
    from models.building import build_model
    from trainer.examples import read_prepared_examples
    from trainer.tables import read_model_tables

    tables = read_model_tables(scenario)
    preparation = build_model(scenario, tables).inputs_preparation
    samples = {}
    for part in PARTS:
        examples = read_prepared_examples(scenario, preparation, part)
        features = examples.features
        samples[part] = ProbeSamples(
            labels=examples.labels,
            users=examples.user_ids,
            folds=features.get("match_user_fold", np.full(len(examples), -1)),
            items=features["item_row"],
            numeric=features["numeric"],
            history=features["match_history_row"] * features["match_history_mask"],
            residuals=features["match_history_residual"],
        )
    row_of = {item: row for row, item in enumerate(tables.catalogue.item_ids)}
    vectors = {}
    for source, records in tables.knowledge.items():
        vectors[source] = np.zeros([len(row_of), records.vectors.shape[1]], np.float32)
        vectors[source][[row_of[item] for item in records.entity_ids]] = records.vectors
    return samples, tables.catalogue, vectors


def match_features(
    vectors: np.ndarray,
    samples: Mapping[str, ProbeSamples],
    landmarks: int = 64,
    length_scale: float = 0.5,
    noise: float = 1.0,
    bias: float = 0.3,
) -> dict[str, np.ndarray]:
    """Mean and deviation of the ridge regression of residuals on vectors, at the candidate.

    With Nystroem features phi and A = I + sum_j phi_j phi_j' / noise over the history, the mean is
    phi_i' A^-1 sum_j phi_j e_j / noise and the deviation sqrt(phi_i' A^-1 phi_i).

    Args:
      vectors: [items, width]; items without a vector take no part.
      samples: part -> samples.
      landmarks: of the kernel.
      length_scale: of the kernel.
      noise: variance of a rating.
      bias: constant part of the kernel.

    Returns:
      Part -> [samples, 2], NaN where the candidate has no vector.
    """
    centre = mean_vector(vectors)
    centres = cluster_landmarks(vectors, centre, landmarks)
    cosines = unit_rows(vectors - centre) @ centres.T
    features = nystroem_features(cosines, centres @ centres.T, length_scale, bias)
    features = _below_unknown(features * known_rows(vectors)[:, np.newaxis])
    return {part: _ridge(features, rows, noise) for part, rows in samples.items()}


def _below_unknown(table: np.ndarray) -> np.ndarray:
    """Rows of the catalogue, from those of its items."""
    return np.concatenate([np.zeros_like(table[:1]), table])


def _ridge(features: np.ndarray, samples: ProbeSamples, noise: float) -> np.ndarray:
    result = np.empty([len(samples.items), 2], np.float32)
    lengths = np.maximum(np.count_nonzero(samples.history, axis=1), 1)
    order = np.argsort(lengths)  # Samples of like length share no padding of a longer one.
    identity = np.eye(features.shape[1], dtype=np.float32)
    for start in range(0, len(order), _SAMPLES_AT_ONCE):
        rows = order[start : start + _SAMPLES_AT_ONCE]
        newest = slice(-lengths[rows[-1]], None)
        candidates, history = features[samples.items[rows]], features[samples.history[rows, newest]]
        precision = identity + history.transpose(0, 2, 1) @ history / np.float32(noise)
        evidence = (samples.residuals[rows, np.newaxis, newest] @ history)[:, 0] / noise
        solved = np.linalg.solve(precision, np.stack([evidence, candidates], axis=2))
        result[rows] = np.einsum("nw,nwk->nk", candidates, solved)
    result[:, 1] = np.sqrt(result[:, 1])
    result[~known_rows(features)[samples.items]] = np.nan
    return result


def linked_means(contents: Any, links: pa.Table) -> np.ndarray:
    """Mean residual of the items that an item is linked with: [items + 1, folds + 1].

    With w_ij the weight of a link, n_j the ratings of item j and t_j = n_j / (n_j + 10), it is
    sum_j w_ij t_j (mean_j - mean of all) / (sum_j w_ij t_j + 0.3). Column k is made without fold k
    of the users, the last one of all.

    Args:
      contents: `models.catalogue.CatalogueContents`.
      links: a table of `preprocessing.links.linking.links_schema`.
    """
    graph, size = graph_of_table(links), len(contents.item_ids)
    row_of = {item: row for row, item in enumerate(contents.item_ids)}
    rows = np.array([row_of[item] for item in graph.items.to_pylist()])
    among = graph.weights[: len(rows), : len(rows)].tocoo()
    pairs = (rows[among.row], rows[among.col])
    weights = scipy.sparse.csr_matrix((among.data, pairs), shape=(size, size))
    sums, counts = (
        by_fold.sum(axis=1, keepdims=True) - np.pad(by_fold, [(0, 0), (0, 1)])
        for by_fold in (contents.rating_sum_by_fold, contents.rating_count_by_fold)
    )
    trust = counts / (counts + _HALF_TRUSTED_RATINGS)
    residuals = sums / np.maximum(counts, 1) - sums.sum(axis=0) / counts.sum(axis=0)
    means = (weights @ (trust * residuals)) / (weights @ trust + _WEIGHT_OF_THE_MEAN)
    return _below_unknown(means)


def user_link_features(
    vectors: np.ndarray,
    links: pa.Table,
    item_ids: Sequence[str],
    users: np.ndarray,
    items: np.ndarray,
) -> np.ndarray:
    """What an answer about the user says of the candidate: [samples, 5].

    The cosine with the mean vector of the films named as loved, whether the candidate is one of
    them, the same of those named as not, and the cosine with the first mean less the second; all
    of vectors that are centred and of length 1.

    Args:
      vectors: [items, width], zeros for an item without one.
      links: of users, `preprocessing.links.linking.links_schema`.
      item_ids: [items].
      users: [samples], ids.
      items: [samples], rows of the candidates, from 1; 0 is no item.
    """
    units = unit_rows(vectors - mean_vector(vectors)) * known_rows(vectors)[:, np.newaxis]
    units = _below_unknown(units)
    answered, index = np.unique(users, return_inverse=True)
    user_row = {user: row for row, user in enumerate(answered)}
    item_row = {item: row for row, item in enumerate(item_ids, start=1)}
    named = {
        kind: np.zeros([len(answered), len(units)], np.float32) for kind in ("liked", "disliked")
    }
    for row in links.select(["user", "list", "linked"]).to_pylist():
        if row["linked"] is not None and row["user"] in user_row:
            named[row["list"]][user_row[row["user"]], item_row[row["linked"]]] = 1.0
    means = [
        named_rows @ units / np.maximum(named_rows.sum(axis=1, keepdims=True), 1)
        for named_rows in named.values()
    ]
    liked, disliked, difference = (
        (unit_rows(mean)[index] * units[items]).sum(axis=1)
        for mean in (*means, means[0] - means[1])
    )
    is_liked, is_disliked = (named_rows[index, items] for named_rows in named.values())
    return np.stack([liked, is_liked, disliked, is_disliked, difference], axis=1)


def first_interactions(samples: Mapping[str, ProbeSamples], most: int) -> dict[str, ProbeSamples]:
    """The samples as if no more were known of a user than before the user's first sample.

    Args:
      samples: part -> samples.
      most: interactions that may come before a first sample.
    """
    first: dict[str, tuple[int, str, int]] = {}
    for part, rows in samples.items():
        for row, length in enumerate(np.count_nonzero(rows.history, axis=1)):
            source_row = (int(length), part, row)
            first[rows.users[row]] = min(first.get(rows.users[row], source_row), source_row)
    result = {}
    for part, rows in samples.items():
        places = [(samples[source], row) for _, source, row in map(first.__getitem__, rows.users)]
        result[part] = replace(
            rows,
            numeric=np.concatenate(
                [[there.numeric[row, :3] for there, row in places], rows.numeric[:, 3:]], axis=1
            ),
            history=np.stack([there.history[row, -most:] for there, row in places]),
            residuals=np.stack([there.residuals[row, -most:] for there, row in places]),
        )
    return result


def fitted_scores(samples: Mapping[str, ProbeSamples], blocks: Sequence[Columns]) -> Columns:
    """Scores of a regression that is fitted on train, for the other parts.

    Columns are standardised by what is known in train and cut off at 5; what is not known is 0.
    """
    scaled = {}
    for part, rows in samples.items():
        columns = np.concatenate([rows.numeric, *(block[part] for block in blocks)], axis=1)
        if part == "train":
            mean, deviation = np.nanmean(columns, axis=0), np.nanstd(columns, axis=0)
            deviation[deviation == 0] = 1.0
        scaled[part] = np.clip(np.nan_to_num((columns - mean) / deviation), -5, 5)
    regression = LogisticRegression(C=1.0, max_iter=300)
    regression.fit(scaled.pop("train"), samples["train"].labels)
    return {part: regression.decision_function(columns) for part, columns in scaled.items()}


def _aucs(samples: Mapping[str, ProbeSamples], blocks: Sequence[Columns]) -> dict[str, float]:
    scores = fitted_scores(samples, blocks)
    return {
        part: float(roc_auc_score(samples[part].labels, values)) for part, values in scores.items()
    }


def _say_table(title: str, rows: Rows) -> Rows:
    names = list(dict.fromkeys(name for row in rows for name in row))
    texts = [[row.get(name, "") for name in names] for row in rows]
    shown = [
        [f"{value:.4f}" if isinstance(value, float) else str(value) for value in row]
        for row in texts
    ]
    say("\n".join(["", title, *aligned(names, shown)]))
    return rows


def _chosen_match(
    samples: Mapping[str, ProbeSamples], vectors: Mapping[str, np.ndarray]
) -> list[Columns]:
    """Match over links, and over title and genres."""
    links = match_features(vectors[LINKS], samples, landmarks=128, length_scale=1.0)
    return [links, match_features(vectors[TEXT], samples)]


def _without_test(samples: Mapping[str, ProbeSamples]) -> dict[str, ProbeSamples]:
    return {part: rows for part, rows in samples.items() if part != "test"}


def _match_table(samples: Mapping[str, ProbeSamples], vectors: Mapping[str, np.ndarray]) -> Rows:
    samples = _without_test(samples)
    rows: Rows = [{"match over": "nothing", "with": "", **_aucs(samples, [])}]
    for source, settings in _SETTINGS:
        features = match_features(vectors[source], samples, **settings)
        changed = ", ".join(f"{name}={value:g}" for name, value in settings.items())
        rows.append({"match over": source, "with": changed, **_aucs(samples, [features])})
    return _say_table("match (landmarks=64, length_scale=0.5, noise=1, bias=0.3)", rows)


def _prior_table(
    samples: Mapping[str, ProbeSamples],
    match: Sequence[Columns],
    vectors: Mapping[str, np.ndarray],
    contents: Any,
    means: np.ndarray,
) -> Rows:
    from models.prior import KnowledgePrior
    from trainer.significance import bootstrap_auc_difference

    samples = _without_test(samples)
    tables: dict[str, np.ndarray | None] = {"none": None}
    for source, landmarks in ((TEXT, 64), (LINKS, 64), (LINKS, 512), (LINKS, 1024)):
        prior = KnowledgePrior.from_ratings(contents, vectors[source], Prior(dimension=landmarks))
        columns = [prior(np.arange(len(means)), fold).numpy() for fold in range(means.shape[1])]
        tables[f"kernel over {source}, {landmarks} landmarks"] = np.stack(columns, axis=1)
    tables["mean of linked items"] = means
    validation = samples["validation"]
    is_new = ~known_rows(_below_unknown(contents.rating_count_by_fold))[validation.items]
    rows: Rows = []
    scores: list[np.ndarray] = []
    for name, table in tables.items():
        block = list(match)
        if table is not None:
            block.append(
                {
                    part: table[part_samples.items, part_samples.folds][:, None]
                    for part, part_samples in samples.items()
                }
            )
        scores.append(fitted_scores(samples, block)["validation"])
        gain = bootstrap_auc_difference(
            validation.labels,
            validation.users,
            np.array(scores[-2:-1]),
            np.array(scores[-1:]),
            _RESAMPLES,
        )
        rows.append({"prior": name, "validation": gain.candidate})
        if table is not None:
            alone = roc_auc_score(validation.labels[is_new], table[validation.items[is_new], -1])
            over = {"over the line above": gain.difference, "from": gain.low, "to": gain.high}
            rows[-1] |= {"alone": float(alone), **over}
    title = f"prior beside the match; alone on {is_new.sum()} samples without a training rating"
    return _say_table(title, rows)


def _user_links_table(
    samples_name: str,
    samples: Mapping[str, ProbeSamples],
    match: Sequence[Columns],
    features: Columns,
) -> Rows:
    links = {part: columns[:, :4] for part, columns in features.items()}
    difference = {part: columns[:, 4:] for part, columns in features.items()}
    links_match, text_match = match
    blocks: dict[str, list[Columns]] = {
        "none": [],
        "user links": [links],
        "match": [links_match],
        "match, user links": [links_match, links],
        "match, difference of cosines": [links_match, difference],
        "match, match over text": [links_match, text_match],
        "match, match over text, user links": [links_match, text_match, links],
    }
    rows = [
        {"beside running statistics": name, **_aucs(samples, block)}
        for name, block in blocks.items()
    ]
    return _say_table(f"user links; interactions of the user that are known: {samples_name}", rows)


def _shares_of_named(samples: Mapping[str, ProbeSamples], features: Columns) -> dict[str, float]:
    labels = np.concatenate([rows.labels for rows in samples.values()])
    liked, disliked = np.concatenate([*features.values()])[:, [1, 3]].T > 0
    shares = {
        "samples of named films": float((liked | disliked).mean()),
        "liked, of films named as loved": float(labels[liked].mean()),
        "liked, of films named as not": float(labels[disliked].mean()),
        "liked, of all": float(labels.mean()),
    }
    _say_table("films that answers about the user name", [shares])
    return shares


if __name__ == "__main__":
    sys.exit(main())
