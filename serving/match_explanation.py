"""Why a version's knowledge match thinks what it thinks of an item: what each rating adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from configs.loading import ConfigurationError
from models.inputs import InputPreparation
from models.match import MatchMethod
from models.match.ridge import ridge_contributions
from models.reduction import cosine_kernel
from serving.client.inputs import ModelInputs, RawId, UserRequest, rank_inputs
from serving.export_manifest import read_manifest
from serving.refresh.version import (
    IdLookup,
    RefreshFolder,
    StoredVariables,
    read_description,
    read_match,
)


@dataclass(frozen=True)
class MatchContributions:
    """One source's match of one user with some items, in units of a rating.

    Attributes:
      history: [length] places in the request's history of the interactions that take part: the
        newest ones, of items that the source knows.
      is_known: bool [items], whether the source knows the item.
      values: [items, length] what each adds to the mean of the ridge; zeros of other items.
    """

    history: np.ndarray
    is_known: np.ndarray
    values: np.ndarray


def match_contributions(
    version_folder: Path, user: UserRequest, items: Sequence[RawId]
) -> dict[str, MatchContributions]:
    """Takes a match apart, from the tables that a version stores.

    Args:
      version_folder: of an export or a refresh.
      user: who asks; a model of implicit feedback reads no ratings of the history.
      items: raw ids.

    Returns:
      Source of the match -> contributions, in the model's order.

    Raises:
      ConfigurationError: the model has no match, one of kind means, or was exported before
        versions had all that this needs.
      CommandError: a file is missing or damaged.
    """
    description = read_description(version_folder)
    variables, folder = StoredVariables(version_folder), RefreshFolder(version_folder)
    sources = [source for source in description.sources if f"items/match_row/{source}" in variables]
    lookup = IdLookup.of_version(variables, "items")
    if not sources or lookup is None:
        raise _no_match(version_folder)
    if description.match_history_length is None:
        raise ConfigurationError(
            f"{version_folder}: does not say how much of a history its match reads; it was "
            "exported by an earlier version of the code: export again"
        )
    history_ids = [str(item) for item in user.history_item_id]
    newest = np.arange(len(history_ids))[-description.match_history_length :]
    history_rows = lookup.rows(history_ids)[newest]
    ratings = np.ones(len(history_ids))
    if read_manifest(version_folder)["ratings"]["in_requests"]:
        ratings = np.asarray(user.history_rating or [], np.float64)
    residuals = ratings[newest] - variables.read("items/mean_rating")[history_rows, 0]
    item_rows = lookup.rows([str(item) for item in items])
    contributions = {}
    for source in sources:
        method = read_match(folder.source(source)).method
        _require_sum(method, version_folder)
        slots = variables.read(f"knowledge/{source}/match/slots")
        slots = slots[variables.read(f"items/match_row/{source}")]
        takes_part, is_known = slots[history_rows] > 0, slots[item_rows] > 0
        table = variables.read(f"knowledge/{source}/match/table")
        history = table[slots[history_rows[takes_part]]]
        candidates = table[slots[item_rows[is_known]]]
        if method.computes_features:
            factor = variables.read(f"knowledge/{source}/match/whitening")
            history = _nystroem_features(history, factor, method)
            candidates = _nystroem_features(candidates, factor, method)
        values = np.zeros([len(item_rows), len(history)])
        values[is_known] = ridge_contributions(method, candidates, history, residuals[takes_part])
        contributions[source] = MatchContributions(newest[takes_part], is_known, values)
    return contributions


def trained_contributions(
    preparation: InputPreparation, user: UserRequest, items: Sequence[RawId], run: Path
) -> dict[str, MatchContributions]:
    """`match_contributions` of a trained model that was not exported.

    The mean of a ridge is linear in the residuals of the history: the layer is asked once for each
    interaction, with the residuals of all others 0.

    Args:
      preparation: of the model.
      user: who asks.
      items: raw ids.
      run: where the model is from, for messages.

    Raises:
      ConfigurationError: the model has no match, or one of kind means.
    """
    matches = preparation.matches
    if matches is None:
        raise _no_match(run)
    for match in matches.matches.values():
        _require_sum(match.method, run)
    inputs = ModelInputs(ratings=preparation.has_ratings)
    raw = {name: tf.constant(values) for name, values in rank_inputs(user, items, inputs).items()}
    entries = preparation.match_inputs(raw)
    length = entries["match_history_row"].shape[1]
    # Items of the history are asked about as well: what a source does not know takes no part.
    asked = tf.concat(
        [preparation.catalogue.rows(raw["item_id"]), entries["match_history_row"][0]], axis=0
    )
    features = matches(
        tf.repeat(asked[tf.newaxis], length, axis=0),
        tf.repeat(entries["match_history_row"], length, axis=0),
        tf.linalg.diag(entries["match_history_residual"][0]),
        tf.repeat(entries["match_history_liked"], length, axis=0),
        tf.repeat(entries["match_history_mask"], length, axis=0),
    ).numpy()
    newest = np.arange(len(user.history_item_id))[-length:]
    contributions = {}
    for source in matches.sources:
        means = features[:, :, matches.feature_names.index(f"{source}/mean")]
        is_known = ~np.isnan(means[0])
        # Without a history there is one entry of padding, which nothing knows.
        takes_part = is_known[len(items) :][: len(newest)]
        values = np.nan_to_num(means[: len(newest), : len(items)].T[:, takes_part])
        contributions[source] = MatchContributions(
            newest[takes_part], is_known[: len(items)], values.astype(np.float64)
        )
    return contributions


def _no_match(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: the model has no knowledge match (model.match=none), so there is nothing to "
        "explain"
    )


def _require_sum(method: MatchMethod, path: Path) -> None:
    if method.kind != "ridge":
        raise ConfigurationError(
            f"{path}: a match of kind {method.kind} is not explained, because its features are no "
            "sum over the history; train with model.match=ridge"
        )


def _nystroem_features(
    cosines: np.ndarray, whitening: np.ndarray, method: MatchMethod
) -> np.ndarray:
    """What the graph makes of cosines with the landmarks, see `StoredItemTables`."""
    whitened = cosine_kernel(cosines, method.length_scale) @ whitening
    return np.pad(whitened, [(0, 0), (0, 1)], constant_values=np.sqrt(method.bias))
