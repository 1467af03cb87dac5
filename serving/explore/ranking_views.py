"""Pages about what knowledge does: rankings, the samples it moved, versions of an export."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from serving.client.inputs import UserRequest
from serving.explore.parameters import (
    Parameters,
    Values,
    difference_of,
    difference_plot,
    rating_of,
    ratings_of,
)
from serving.explore.session import Contribution, Ranking, Session
from serving.explore.svg import Bar, bars, columns
from serving.explore.work_data import UnknownEntity, UserState
from trainer.evaluation.slices import ITEM_POPULARITY

_SHOWN_CANDIDATES = 50
_SHOWN_CONTRIBUTIONS = 12
_MOST_MOVED = 20
_SAME_SCORE = 1e-6
_LARGEST_VERSION = 2**63 - 1


def ranking(session: Session, parameters: Parameters) -> Values:
    """Candidates of a user as all models rank them.

    Raises:
      UnknownEntity: there is no such user, or no item of the text that is to be added.
      WrongParameter: a parameter is wrong.
    """
    users = session.samples.users
    is_typed = bool(parameters.text("edited")) or not users
    user_id = parameters.text("user", "" if is_typed else users[0])
    state = session.samples.state(user_id)
    if state is None and not is_typed:
        raise UnknownEntity(
            f"user '{user_id}' has no samples in the {session.part} part; search for another, or "
            "open /ranking?edited=1 and type a history"
        )
    # Whoever names another user in the form means that user, not the history beside the name.
    is_edited = is_typed and (state is None or parameters.query.get("of", user_id) == user_id)
    user = _user(session, parameters, user_id, state, is_edited)
    can_judge = state is not None
    candidates = parameters.choice("candidates", ["later", "all"]) if can_judge else "all"
    why = parameters.text("why")
    if why:
        session.data.require_item(why)
    last = len(session.rankers) - 1
    sort = parameters.number("sort", last, last)
    history = [str(item) for item in user.history_item_id]
    in_history = set(history)
    if candidates == "later" and state is not None:
        asked = list(dict.fromkeys(state.items))
    else:
        asked = [item for item in session.data.items.ids if item not in in_history]
    ranked = session.rank(user, asked)
    shown = ranked.best_first(sort)[:_SHOWN_CANDIDATES]
    truth: dict[str, tuple[float, int]] = {}
    if state is not None:
        outcomes = zip(state.ratings, state.labels, strict=True)
        truth = dict(zip(state.items, outcomes, strict=True))
    kept = {
        "user": user_id or None,
        "candidates": candidates,
        "sort": sort if sort != last else None,
        **(_edited_history(user) if is_edited else {}),
    }
    ratings = ratings_of(user)
    return {
        "user": user_id,
        "is_edited": is_edited,
        "differs": state is None or user is not state.request,
        "has_ratings": session.has_ratings,
        "added_rating": f"{session.data.scenario.data.liked_from:g}",
        "history": [
            {"item": item, "rating": rating, "title": session.data.items.title(item)}
            for item, rating in reversed(list(zip(history, ratings, strict=True)))
        ],
        "candidates": candidates,
        "can_judge": can_judge,
        "num_candidates": len(asked),
        "num_shown": len(shown),
        "sort": sort,
        "rows": [_ranked_row(session, ranked, index, truth) for index in shown],
        "kept": kept,
        "why": _why(session, user, why) if why else None,
        "curl": session.rankers[-1].curl(
            user, [asked[index] for index in shown], session.data.scenario.serving.model_name
        ),
        "title": f"Ranking for user {user_id}" if user_id else "Ranking for a typed history",
    }


def _user(
    session: Session,
    parameters: Parameters,
    user_id: str,
    state: UserState | None,
    is_edited: bool,
) -> UserRequest:
    """The user that the form describes; the stored one where nothing was changed."""
    if not is_edited and state is not None:
        return state.request
    history = parameters.history(session.has_ratings)
    # The form shows the newest first.
    history.reverse()
    added = parameters.text("add").strip()
    if added:
        default = f"{session.data.scenario.data.liked_from:g}"
        rating = rating_of(parameters.text("add_rating", default))
        history.append((_item_meant(session, added), rating))
    items, ratings = [item for item, _ in history], [rating for _, rating in history]
    if state is not None:
        stored = state.request
        if list(stored.history_item_id) == items and (
            stored.history_rating is None or np.allclose(stored.history_rating, ratings)
        ):
            return stored
    return UserRequest.from_history(
        user_id,
        items,
        ratings if session.has_ratings else None,
        session.data.scenario.data.liked_from,
        {} if state is None else state.request.profile,
    )


def _item_meant(session: Session, text: str) -> str:
    """The item of an id, or the first one whose title contains the text."""
    items = session.data.items
    if text in items.row_of:
        return text
    matching = items.search(text, 1)
    if not matching:
        raise UnknownEntity(f"no item has the id or a title like '{text}'")
    return matching[0]


def _edited_history(user: UserRequest) -> dict[str, object]:
    """Parameters of an address with this history."""
    kept: dict[str, object] = {
        "edited": "1",
        "item": [str(item) for item in reversed(user.history_item_id)],
    }
    if user.history_rating is not None:
        kept["rating"] = [f"{rating:g}" for rating in reversed(user.history_rating)]
    return kept


def _ranked_row(
    session: Session,
    ranked: Ranking,
    index: int,
    truth: Mapping[str, tuple[float, int]],
) -> Values:
    item = ranked.items[index]
    rating, label = truth.get(item, (None, None))
    first = int(ranked.ranks[0, index])
    return {
        "item": item,
        "title": session.data.items.title(item),
        "attributes": " · ".join(session.data.items.attributes(item).values()),
        "rating": rating,
        "label": label,
        "cells": [
            {
                "rank": int(ranked.ranks[number, index]),
                "score": float(ranked.scores[number, index]),
                "move": first - int(ranked.ranks[number, index]) if number else None,
            }
            for number in range(len(session.rankers))
        ],
    }


def _why(session: Session, user: UserRequest, item: str) -> Values:
    """What each rating adds to each model's match of an item."""
    explained: list[Values] = []
    for ranker in session.rankers:
        try:
            sources = session.explain(ranker, user, item)
        except (CommandError, ConfigurationError) as error:
            reason = str(error).removeprefix(f"{ranker.path}: ")
            explained.append({"ranker": ranker.name, "reason": reason, "sources": []})
            continue
        shown = [
            _explained_source(session, name, contributions)
            for name, contributions in sources.items()
        ]
        explained.append({"ranker": ranker.name, "reason": None, "sources": shown})
    return {"item": item, "title": session.data.items.title(item), "explained": explained}


def _explained_source(
    session: Session, source: str, contributions: Sequence[Contribution] | None
) -> Values:
    if contributions is None:
        return {"source": source, "mean": None, "plot": None, "others": 0, "rows": []}
    shown, others = contributions[:_SHOWN_CONTRIBUTIONS], contributions[_SHOWN_CONTRIBUTIONS:]
    rows: list[Values] = [
        {
            "item": one.item,
            "title": session.data.items.title(one.item) or one.item,
            "rating": one.rating,
            "value": one.value,
        }
        for one in shown
    ]
    chart = [
        Bar(
            f"{row['title']}" + ("" if row["rating"] is None else f" ({row['rating']:g})"),
            row["value"],
            f"{row['value']:+.3f}",
            colour=0 if row["value"] >= 0 else 1,
        )
        for row in rows
    ]
    rest = math.fsum(one.value for one in others)
    if others:
        chart.append(Bar(f"{len(others)} others", rest, f"{rest:+.3f}", colour=None))
    return {
        "source": source,
        "mean": math.fsum(one.value for one in contributions),
        "plot": bars(f"contributions to {source}", chart),
        "others": rest,
        "rows": rows,
    }


def moved(session: Session, parameters: Parameters) -> Values:
    """Samples that knowledge moved most, and what it changed by groups of them.

    Raises:
      ConfigurationError: one model is opened alone.
      UnknownEntity: there is no such slice or group.
    """
    session.require_two()
    last = len(session.rankers) - 1
    number = max(1, parameters.number("to", last, last))
    ranker = session.rankers[number]
    by = parameters.text("by", ITEM_POPULARITY)
    groups = session.rows_of_slice(by)
    group = parameters.text("group")
    if group and group not in groups:
        raise UnknownEntity(f"the slice {by} has no group '{group}'")
    compared = session.compared_slice(ranker, by)
    gains = session.gains(ranker)
    predictions = [session.predictions(one) for one in (session.rankers[0], ranker)]
    rows = np.flatnonzero(groups[group]) if group else np.arange(len(gains))
    order = rows[np.argsort(-gains[rows], kind="stable")]

    def sample(row: int) -> Values:
        earlier = predictions[0]
        return {
            "user": str(earlier.user_ids[row]),
            "item": str(earlier.item_ids[row]),
            "title": session.data.items.title(str(earlier.item_ids[row])),
            "label": int(earlier.labels[row]),
            "scores": [float(one.scores[row]) for one in predictions],
            "gain": float(gains[row]),
        }

    return {
        "by": by,
        "slices": session.slices,
        "group": group,
        "to": number,
        "baseline": session.rankers[0].name,
        "candidate": ranker.name,
        "whole": difference_of(session.compared_whole(session.rankers[0], ranker)),
        "groups": {name: difference_of(one) for name, one in compared.items()},
        "plot": difference_plot(f"difference of AUC by {by}", compared),
        "num_rows": len(rows),
        "resamples": session.data.scenario.evaluation.bootstrap_resamples,
        "mean_gain": float(gains[rows].mean()) if len(rows) else None,
        "winners": [sample(row) for row in order[:_MOST_MOVED].tolist() if gains[row] > 0],
        "losers": [sample(row) for row in order[::-1][:_MOST_MOVED].tolist() if gains[row] < 0],
        "title": "Winners and losers",
    }


def versions(session: Session, parameters: Parameters) -> Values:
    """What a refresh changed: rows of tables, and scores of the part's samples.

    Raises:
      UnknownEntity: there is no such version.
    """
    numbers = list(session.versions)
    if len(numbers) < 2:
        return {"numbers": numbers, "change": None, "title": "Versions"}
    before = parameters.number("before", numbers[-2], _LARGEST_VERSION)
    after = parameters.number("after", numbers[-1], _LARGEST_VERSION)
    change = session.version_change(before, after)
    old, new = session.version(before), session.version(after)
    scores = [session.predictions(one).scores.astype(np.float64) for one in (old, new)]
    moves = scores[1] - scores[0]
    predictions = session.predictions(old)
    order = np.argsort(-np.abs(moves), kind="stable")[:_MOST_MOVED]
    has_moved = np.abs(moves) > _SAME_SCORE
    bounds = [1e-6, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    counts = np.bincount(
        np.searchsorted(bounds, np.abs(moves), side="right"), minlength=len(bounds) + 1
    )
    edges = ["same", *(f"to {bound:g}" for bound in bounds[1:]), "more"]
    return {
        "numbers": numbers,
        "before": before,
        "after": after,
        "change": change,
        "changed": [{"id": one, "title": session.data.items.title(one)} for one in change.items],
        "samples": len(moves),
        "num_moved": int(has_moved.sum()),
        "mean_move": float(np.abs(moves).mean()),
        "plot": columns("samples by how far their scores moved", counts.tolist(), edges),
        "whole": difference_of(session.compared_whole(old, new)),
        "rows": [
            {
                "user": str(predictions.user_ids[row]),
                "item": str(predictions.item_ids[row]),
                "title": session.data.items.title(str(predictions.item_ids[row])),
                "label": int(predictions.labels[row]),
                "scores": [float(one[row]) for one in scores],
                "move": float(moves[row]),
            }
            for row in order.tolist()
            if has_moved[row]
        ],
        "title": f"Versions {before} and {after}",
    }
