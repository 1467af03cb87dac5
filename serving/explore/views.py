"""What each page shows, from the parameters of its address."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any
from urllib.parse import urlencode

import duckdb
import numpy as np
from markupsafe import Markup
from starlette.datastructures import QueryParams

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.answers.record import meaning_of
from preprocessing.links.linking import count_by_how, linked_items, links_of_item
from serving.client.inputs import UserRequest
from serving.explore.rankers import Ranker
from serving.explore.session import Contribution, Ranking, Session
from serving.explore.svg import (
    MAP_SIZE,
    PALETTE,
    Bar,
    MapGroup,
    MapScale,
    bars,
    columns,
    dots,
    scatter,
)
from serving.explore.work_data import UnknownEntity, UserState
from trainer.comparison import Compared
from trainer.evaluation.slices import ITEM_POPULARITY, count_groups
from trainer.metrics import evaluate_scores

Values = dict[str, Any]

_SHOWN_CANDIDATES = 50
_SHOWN_CONTRIBUTIONS = 12
_NEIGHBOURS = 15
_MOST_MOVED = 20
_FOUND_ITEMS, _FOUND_USERS = 12, 6
_UNLINKED_NAMES = 40
_SELECTED_ITEMS = 60
_SAME_SCORE = 1e-6
_LENGTH_BOUNDS = (10, 25, 50, 75, 100, 150, 200, 300)
"""Words of answers, at which columns of the histogram begin behind the one from 0."""


class WrongParameter(CommandError):
    """The address has a parameter that means nothing here."""


@dataclass(frozen=True)
class Parameters:
    """The query of an address.

    Attributes:
      query: its parameters.
    """

    query: QueryParams

    def text(self, name: str, default: str = "") -> str:
        """A parameter, or the default where it is missing or empty."""
        return self.query.get(name) or default

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        """A parameter that must be one of some texts.

        Raises:
          WrongParameter: it is none of them.
        """
        chosen = self.text(name, choices[0] if default is None else default)
        if chosen not in choices:
            raise WrongParameter(f"{name}: expected {' or '.join(choices)}. Received: '{chosen}'")
        return chosen

    def number(self, name: str, default: int, highest: int) -> int:
        """A parameter that must be a whole number from 0.

        Raises:
          WrongParameter: it is none, or above the highest.
        """
        text = self.text(name, str(default))
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= highest):
            raise WrongParameter(
                f"{name}: expected a whole number from 0 to {highest}. Received: '{text}'"
            )
        return int(text)

    def ratings(self) -> list[tuple[str, float]]:
        """The history of the form: `item` and `rating`, one each; without a rating it is removed.

        Raises:
          WrongParameter: a rating is no number.
        """
        pairs = zip_longest(self.query.getlist("item"), self.query.getlist("rating"), fillvalue="")
        return [(item, _rating(text)) for item, text in pairs if item and text.strip()]


def _rating(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < 1e6:
        raise WrongParameter(f"rating: expected a number. Received: '{text}'")
    return number


def address(path: str, **parameters: object) -> str:
    """The address of a page, without parameters that are None; lists are repeated."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def ranking(session: Session, parameters: Parameters) -> Values:
    """Candidates of a user as all models rank them.

    Raises:
      UnknownEntity: there is no such user, or no item of the text that is to be added.
      WrongParameter: a parameter is wrong.
    """
    is_edited = bool(parameters.text("edited"))
    samples = session.samples
    first = samples.users[0] if samples.users and not is_edited else ""
    user_id = parameters.text("user", first)
    state = samples.state(user_id)
    if state is None and not is_edited:
        raise UnknownEntity(
            f"user '{user_id}' has no samples in the {session.part} part; search for another, or "
            "type a history"
        )
    user = _user(session, parameters, user_id, state, is_edited)
    can_judge = state is not None
    candidates = parameters.choice("candidates", ["later", "all"] if can_judge else ["all"])
    why = parameters.text("why")
    if why:
        session.data.require_item(why)
    last = len(session.rankers) - 1
    sort = parameters.number("sort", last, last)
    history = [str(item) for item in user.history_item_id]
    known = set(history)
    if candidates == "later" and state is not None:
        asked = list(dict.fromkeys(state.items))
    else:
        asked = [item for item in session.data.items.ids if item not in known]
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
    ratings = _ratings_of(user)
    return {
        "user": user_id,
        "is_edited": is_edited,
        "differs": state is None or user is not state.request,
        "has_ratings": session.has_ratings,
        "history": [
            {"item": item, "rating": rating, "title": session.data.items.title(item)}
            for item, rating in reversed(list(zip(history, ratings, strict=True)))
        ],
        "candidates": candidates,
        "can_judge": can_judge,
        "num_candidates": len(asked),
        "sort": sort,
        "rows": [_ranked_row(session, ranked, place, truth) for place in shown],
        "kept": kept,
        "why": _why(session, user, why) if why else None,
        "curl": session.rankers[-1].curl(
            user, [asked[place] for place in shown], session.data.scenario.serving.model_name
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
    history = parameters.ratings()
    # The form shows the newest first.
    history.reverse()
    added = parameters.text("add")
    if added:
        history.append((_item_meant(session, added), _rating(parameters.text("add_rating", "5"))))
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
    found = items.search(text, 1)
    if not found:
        raise UnknownEntity(f"no item has the id or a title like '{text}'")
    return found[0]


def _ratings_of(user: UserRequest) -> list[float | None]:
    """Ratings of the history; None of implicit feedback."""
    if user.history_rating is None:
        return [None] * len(user.history_item_id)
    return list(user.history_rating)


def _edited_history(user: UserRequest) -> dict[str, object]:
    """Parameters of an address with this history."""
    ratings = user.history_rating or [1.0] * len(user.history_item_id)
    return {
        "edited": "1",
        "item": [str(item) for item in reversed(user.history_item_id)],
        "rating": [f"{rating:g}" for rating in reversed(ratings)],
    }


def _ranked_row(
    session: Session,
    ranked: Ranking,
    place: int,
    truth: Mapping[str, tuple[float, int]],
) -> Values:
    item = ranked.items[place]
    rating, label = truth.get(item, (None, None))
    first = int(ranked.ranks[0, place])
    return {
        "item": item,
        "title": session.data.items.title(item),
        "attributes": " · ".join(session.data.items.attributes(item).values()),
        "rating": rating,
        "label": label,
        "cells": [
            {
                "rank": int(ranked.ranks[number, place]),
                "score": float(ranked.scores[number, place]),
                "move": first - int(ranked.ranks[number, place]) if number else None,
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
        except ConfigurationError as error:
            reason = str(error).removeprefix(f"{ranker.path}: ")
            explained.append({"ranker": ranker.name, "reason": reason, "sources": []})
            continue
        shown = [_explained_source(session, name, found) for name, found in sources.items()]
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


def item(session: Session, parameters: Parameters) -> Values:
    """What the LLM said of an item, and what is near it in each space.

    Raises:
      UnknownEntity: there is no such item.
    """
    data = session.data
    item_id = parameters.text("id")
    data.require_item(item_id)
    tables = {source: data.links(source) for source in data.linked["item"]}
    linked = linked_items(tables.values(), item_id)
    row = data.items.row_of.get(item_id)
    return {
        "id": item_id,
        "item_title": data.items.title(item_id),
        "attributes": data.items.attributes(item_id),
        "ratings": None if row is None else int(data.items.rating_counts[row]),
        "answers": _shown_answers(session, "item", item_id, parameters),
        "links": {
            source: links_of_item(table, item_id, data.items.title, _NEIGHBOURS)
            for source, table in tables.items()
        },
        "origins": {
            source: data.vectors(source).origin(item_id) for source in data.encoded["item"]
        },
        "neighbours": {
            source: [
                {
                    "id": other,
                    "title": data.items.title(other),
                    "cosine": cosine,
                    "link": linked.get(other),
                }
                for other, cosine in data.vectors(source).nearest(item_id, _NEIGHBOURS)
            ]
            for source in data.encoded["item"]
        },
        "prompt_shown": parameters.text("prompt") == "show",
        "title": data.items.title(item_id) or item_id,
    }


def user(session: Session, parameters: Parameters) -> Values:
    """What the LLM said of a user, and the user's history.

    Raises:
      UnknownEntity: there is no such user.
    """
    data = session.data
    user_id = parameters.text("id")
    state = session.samples.state(user_id)
    answers = _shown_answers(session, "user", user_id, parameters)
    origins = {source: data.vectors(source).origin(user_id) for source in data.encoded["user"]}
    if state is None and not answers and all(one[0] == "missing" for one in origins.values()):
        raise UnknownEntity(
            f"user '{user_id}' has no samples in the {session.part} part and no answer"
        )
    history = []
    if state is not None:
        items = [str(one) for one in state.request.history_item_id]
        ratings = _ratings_of(state.request)
        history = [
            {"item": one, "title": data.items.title(one), "rating": rating}
            for one, rating in zip(reversed(items), reversed(ratings), strict=True)
        ]
    return {
        "id": user_id,
        "answers": answers,
        "links": data.user_links(user_id),
        "origins": origins,
        "history": history,
        "samples": 0 if state is None else len(state.items),
        "profile": {} if state is None else dict(state.request.profile),
        "neighbours": {
            source: [
                {"id": other, "cosine": cosine}
                for other, cosine in data.vectors(source).nearest(user_id, _NEIGHBOURS)
            ]
            for source in data.encoded["user"]
        },
        "prompt_shown": parameters.text("prompt") == "show",
        "title": f"User {user_id}",
    }


def _shown_answers(
    session: Session, entity: str, entity_id: str, parameters: Parameters
) -> list[Values]:
    """Answers about an entity; prompts only where the address asks for them."""
    found = session.data.answers_about(entity, entity_id)
    if parameters.text("prompt") != "show":
        found = [{**one, "prompt": None, "has_prompt": one["prompt"] is not None} for one in found]
    return [{"has_prompt": one["prompt"] is not None, **one} for one in found]


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
        of_row = predictions[0]
        return {
            "user": str(of_row.user_ids[row]),
            "item": str(of_row.item_ids[row]),
            "title": session.data.items.title(str(of_row.item_ids[row])),
            "label": int(of_row.labels[row]),
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
        "whole": _difference(session.compared_whole(session.rankers[0], ranker)),
        "groups": {name: _difference(one) for name, one in compared.items()},
        "plot": _difference_plot(f"difference of AUC by {by}", compared),
        "num_rows": len(rows),
        "resamples": session.data.scenario.evaluation.bootstrap_resamples,
        "mean_gain": float(gains[rows].mean()) if len(rows) else None,
        "winners": [sample(row) for row in order[:_MOST_MOVED].tolist() if gains[row] > 0],
        "losers": [sample(row) for row in order[::-1][:_MOST_MOVED].tolist() if gains[row] < 0],
        "title": "Winners and losers",
    }


def _difference(compared: Compared) -> Values:
    """A difference of AUCs for people."""
    found = compared.differences.get("auc")
    shown: Values = {"n": compared.n, "users": compared.users, "reason": compared.reason}
    if found is not None:
        shown |= {
            "baseline": found.baseline,
            "candidate": found.candidate,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
        }
    return shown


def _difference_plot(title: str, compared: Mapping[str, Compared]) -> object:
    rows = []
    for name, one in compared.items():
        found = one.differences.get("auc")
        if found is None:
            rows.append(Bar(name, 0.0, "–"))
            continue
        colour = 0 if found.difference >= 0 else 1
        text = f"{found.difference:+.4f}"
        rows.append(Bar(name, found.difference, text, found.low, found.high, colour))
    return bars(title, rows)


def knowledge_map(session: Session, parameters: Parameters) -> Values:
    """A source's vectors in two dimensions, and the samples of what is selected there.

    Raises:
      ConfigurationError: no item source is encoded.
      UnknownEntity: there is no such source or colour.
    """
    data = session.data
    sources = data.encoded["item"]
    if not sources:
        raise ConfigurationError(
            "no source of knowledge about items is encoded in this work directory; run 'python -m "
            "preprocessing encode'"
        )
    source = parameters.choice("source", sources)
    colours = [*data.items.categorical, *data.items.numeric, "coverage", "popularity"]
    colour = parameters.choice("colour", colours)
    drawn = _drawn_map(session, source, colour)
    selected, chosen = None, None
    if parameters.text("left"):
        left, right = sorted(parameters.number(name, 0, MAP_SIZE) for name in ("left", "right"))
        top, bottom = sorted(parameters.number(name, 0, MAP_SIZE) for name in ("top", "bottom"))
        selected = (float(left), float(top), float(right), float(bottom))
        inside = (drawn.places >= (left, top)) & (drawn.places <= (right, bottom))
        ids = data.vectors(source).records.entity_ids
        rows = np.flatnonzero(inside.all(axis=1)).tolist()
        chosen = _selected(session, [ids[row] for row in rows])
    return {
        "source": source,
        "sources": sources,
        "colour": colour,
        "colours": colours,
        "legend": drawn.legend,
        "plot": scatter(f"items by their vectors of {source}", drawn.dots, selected),
        "without_vector": drawn.without_vector,
        "selected": selected,
        "chosen": chosen,
        "title": f"Map of {source}",
    }


@dataclass(frozen=True)
class _DrawnMap:
    """A source's map without a selection.

    Attributes:
      places: [rows, 2] on the map.
      dots: SVG.
      legend: `name`, `colour` and number of `items` of each group.
      without_vector: items of the catalogue that are not on it.
    """

    places: np.ndarray
    dots: Markup
    legend: list[Values]
    without_vector: int


@functools.lru_cache
def _drawn_map(session: Session, source: str, colour: str) -> _DrawnMap:
    vectors = session.data.vectors(source)
    names, group_of = _map_groups(session, colour, vectors.records.entity_ids)
    missing = len(names) - 1
    places = MapScale(vectors.plane).on_map(vectors.plane)
    sizes = np.bincount(group_of, minlength=len(names))
    # What has no value is drawn first, below all else, and then the largest groups.
    order = [missing, *np.argsort(-sizes[:missing], kind="stable").tolist()]
    groups = [
        MapGroup(np.flatnonzero(group_of == group), None if group == missing else group)
        for group in order
    ]
    legend = [
        {"name": name, "colour": "none" if group == missing else group, "items": size}
        for group, (name, size) in enumerate(zip(names, sizes.tolist(), strict=True))
        if size
    ]
    absent = sum(one not in vectors.row_of for one in session.data.items.ids)
    return _DrawnMap(places, dots(places, groups), legend, absent)


def _map_groups(session: Session, colour: str, ids: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Names of at most as many groups as there are colours, and of what has none; [ids] groups."""
    items = session.data.items
    rows = [items.row_of.get(one) for one in ids]
    missing = "none known"
    if colour == "coverage":
        source = _covering_source(session)
        names = ["individual", "collective"]
        origins = [session.data.vectors(source).origin(one)[0] for one in ids]
        return [f"{source}: {name}" for name in names] + [missing], np.array(
            [names.index(origin) if origin in names else len(names) for origin in origins]
        )
    if colour == "popularity":
        bounds = session.data.scenario.evaluation.item_popularity_bounds[: PALETTE - 2]
        counts = [0 if row is None else int(items.rating_counts[row]) for row in rows]
        names = [f"{name} ratings" for name in count_groups(bounds)]
        return [*names, missing], np.searchsorted(bounds, counts, side="right")
    if colour in items.numeric:
        numbers = np.array([np.nan if row is None else items.numeric[colour][row] for row in rows])
        known = numbers[~np.isnan(numbers)]
        cuts = np.unique(np.quantile(known, np.linspace(0, 1, 7)[1:-1])) if len(known) else known
        edges = ["", *(f"{cut:.6g}" for cut in cuts), ""]
        names = [f"{low} – {high}" for low, high in zip(edges, edges[1:], strict=False)]
        above = np.searchsorted(cuts, numbers, side="right")
        return [*names, missing], np.where(np.isnan(numbers), len(names), above)
    values = [() if row is None else items.categorical[colour][row] for row in rows]
    counted: dict[str, int] = {}
    for of_item in values:
        for value in of_item[:1]:
            counted[value] = counted.get(value, 0) + 1
    names = sorted(counted, key=lambda value: (-counted[value], value))[: PALETTE - 1]
    place = {value: number for number, value in enumerate(names)}
    others = len(names)
    groups = [place.get(of_item[0], others) if of_item else others + 1 for of_item in values]
    return [*names, "others", missing], np.array(groups, int)


def _covering_source(session: Session) -> str:
    """The item source whose coverage the map shows: the first that has answers about groups."""
    sources = session.data.encoded["item"]
    return next(
        (one for one in sources if "collective" in session.data.vectors(one).records.extraction),
        sources[0],
    )


def _selected(session: Session, ids: Sequence[str]) -> Values:
    """Items of the selection, the most rated first, and what models make of their samples."""
    items = session.data.items

    def ratings(one: str) -> int:
        row = items.row_of.get(one)
        return 0 if row is None else int(items.rating_counts[row])

    most_rated = sorted(ids, key=lambda one: (-ratings(one), one))
    first = session.predictions(session.rankers[0])
    rows = np.isin(first.item_ids, np.array(ids, str)) if ids else np.zeros(first.count, bool)
    return {
        "count": len(ids),
        "items": [
            {"id": one, "title": items.title(one), "ratings": ratings(one)}
            for one in most_rated[:_SELECTED_ITEMS]
        ],
        "samples": int(rows.sum()),
        "rankers": [_judged(session, ranker, rows) for ranker in session.rankers],
    }


def _judged(session: Session, ranker: Ranker, rows: np.ndarray) -> Values:
    """A model's AUC on some samples, beside what the first model has."""
    found = session.predictions(ranker).of_rows(rows)
    is_judged = found.count > 0 and found.labels.min() != found.labels.max()
    shown: Values = {"name": ranker.name, "auc": None, "difference": None}
    if is_judged:
        shown["auc"] = evaluate_scores(found.labels, found.scores, found.user_ids)["auc"]
        if ranker is not session.rankers[0]:
            compared = session.compared_rows(session.rankers[0], ranker, rows)
            shown["difference"] = _difference(compared)
    return shown


def quality(session: Session, parameters: Parameters) -> Values:
    """What the sources of knowledge cover, and what is wrong with their answers."""
    data = session.data
    answers = data.scenario.knowledge.answers
    names = [
        source
        for source in answers
        if source in data.encoded[answers[source].entity]
        or source in data.linked[answers[source].entity]
        or source in data.answer_sources(answers[source].entity)
    ]
    if not names:
        return {"names": [], "source": None, "title": "Quality"}
    source = parameters.choice("source", names)
    entity = data.entity_kind(source)
    values: Values = {
        "names": names,
        "source": source,
        "entity": entity,
        "coverage": None,
        "lengths": None,
        "rejected": None,
        "missing": [],
        "links": None,
        "title": f"Quality of {source}",
    }
    if source in data.encoded[entity]:
        values["coverage"] = _coverage(session, source)
    if source in data.answer_sources(entity):
        values |= _answer_quality(session, source)
    if source in data.linked[entity]:
        values["links"] = _name_quality(session, source)
    return values


@functools.lru_cache
def _name_quality(session: Session, source: str) -> Values:
    """What became of the names in answers."""
    table = session.data.links(source)
    query = """
        SELECT name, count(*) AS answers, any_value(how) AS how
        FROM names
        WHERE linked IS NULL AND how IN ('outside', 'outside_node', 'ambiguous')
        GROUP BY name ORDER BY answers DESC, name LIMIT ?
    """
    with duckdb.connect() as connection:
        connection.register("names", table.select(["name", "how", "linked"]))
        rows = connection.execute(query, [_UNLINKED_NAMES]).fetchall()
    unlinked = [{"name": name, "answers": answers, "how": how} for name, answers, how in rows]
    return {**count_by_how(table), "unlinked": unlinked}


@functools.lru_cache
def _answer_quality(session: Session, source: str) -> Values:
    data = session.data
    answers = data.answers(source)
    rejected = data.rejected(source)
    values: Values = {
        "missing": answers.missing,
        "num_answers": answers.table.num_rows,
        "rejected": {
            **rejected,
            "reasons": [
                {"reason": reason, "records": records, "meaning": meaning_of(reason)}
                for reason, records in rejected["reasons"].items()
            ],
        },
    }
    if data.scenario.knowledge.answers[source].links is None and answers.table.num_rows:
        words = [len(text.split()) for text in answers.table["text"].to_pylist() if text]
        counts = np.bincount(
            np.searchsorted(_LENGTH_BOUNDS, words, side="right"), minlength=len(_LENGTH_BOUNDS) + 1
        )
        labels = count_groups(_LENGTH_BOUNDS)
        values["lengths"] = {
            "plot": columns(f"words of answers of {source}", counts.tolist(), labels),
            "median": float(np.median(words)) if words else 0.0,
        }
    return values


@functools.lru_cache
def _coverage(session: Session, source: str) -> Values:
    """Entities by where their knowledge comes from; items also by their training ratings."""
    data = session.data
    vectors = data.vectors(source)
    origins = ("individual", "collective", "missing")
    ids = data.items.ids if vectors.entity == "item" else session.samples.users
    found = np.array([origins.index(vectors.origin(one)[0]) for one in ids], int)
    shown: Values = {
        "ids": len(ids),
        "origins": dict(zip(origins, np.bincount(found, minlength=3).tolist(), strict=True)),
        "by_popularity": [],
        "width": vectors.records.vectors.shape[1],
    }
    if vectors.entity == "item":
        bounds = data.scenario.evaluation.item_popularity_bounds
        groups = np.searchsorted(bounds, data.items.rating_counts, side="right")
        for group, name in enumerate(count_groups(bounds)):
            counts = np.bincount(found[groups == group], minlength=3).tolist()
            shown["by_popularity"].append(
                {"group": name, "items": sum(counts), **dict(zip(origins, counts, strict=True))}
            )
    return shown


def versions(session: Session, parameters: Parameters) -> Values:
    """What a refresh changed: rows of tables, and scores of the part's samples.

    Raises:
      UnknownEntity: there is no such version.
    """
    numbers = list(session.versions)
    if len(numbers) < 2:
        return {"numbers": numbers, "change": None, "title": "Versions"}
    before = parameters.number("before", numbers[-2], 10**9)
    after = parameters.number("after", numbers[-1], 10**9)
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
        "whole": _difference(session.compared_whole(old, new)),
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


def search(session: Session, parameters: Parameters) -> Values:
    """Items and users that a text finds."""
    text = parameters.text("q").strip()
    data = session.data
    found = data.items.search(text, _FOUND_ITEMS) if text else []
    return {
        "q": text,
        "items": [
            {"id": one, "title": data.items.title(one), "attributes": data.items.attributes(one)}
            for one in found
        ],
        "users": session.samples.search(text, _FOUND_USERS) if text else [],
        "title": "Search",
    }


View = Callable[[Session, Parameters], Values]

VIEWS: dict[str, tuple[str, View]] = {
    "/ranking": ("ranking", ranking),
    "/item": ("item", item),
    "/user": ("user", user),
    "/moved": ("moved", moved),
    "/map": ("map", knowledge_map),
    "/quality": ("quality", quality),
    "/versions": ("versions", versions),
    "/search": ("search", search),
}
"""Path -> template, and what it shows."""
