"""Pages about what knowledge is: items and users, their vectors, the quality of answers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from markupsafe import Markup

from configs.loading import ConfigurationError
from preprocessing.answers.record import meaning_of
from preprocessing.links.linking import count_by_how, linked_items, links_of_item
from serving.explore.parameters import Parameters, Values, difference_of, ratings_of
from serving.explore.rankers import Ranker
from serving.explore.session import Session
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
from serving.explore.work_data import UnknownEntity
from trainer.evaluation.slices import count_groups
from trainer.metrics import evaluate_scores

_NEIGHBOURS = 15
_FOUND_ITEMS, _FOUND_USERS = 12, 6
_UNLINKED_NAMES = 40
_SELECTED_ITEMS = 60
_LENGTH_BOUNDS = (10, 25, 50, 75, 100, 150, 200, 300)
"""Words of answers, at which columns of the histogram begin behind the one from 0."""


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
        "gates": _shown_gates(session, "item", item_id),
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
        ratings = ratings_of(state.request)
        history = [
            {"item": one, "title": data.items.title(one), "rating": rating}
            for one, rating in zip(reversed(items), reversed(ratings), strict=True)
        ]
    return {
        "id": user_id,
        "answers": answers,
        "gates": _shown_gates(session, "user", user_id),
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
    answers = session.data.answers_about(entity, entity_id)
    if parameters.text("prompt") != "show":
        answers = [
            {**one, "prompt": None, "has_prompt": one["prompt"] is not None} for one in answers
        ]
    return [{"has_prompt": one["prompt"] is not None, **one} for one in answers]


def _shown_gates(session: Session, entity: str, entity_id: str) -> list[Values]:
    """A chart of the experts of each source of each model that has any."""
    shown = []
    for name, gates_by_source in session.gates(entity, entity_id).items():
        for gates in gates_by_source:
            rows = []
            for number, share in enumerate(gates.shares.tolist()):
                own = number - gates.num_shared_experts
                label = f"own expert {own + 1}" if own >= 0 else f"shared expert {number + 1}"
                rows.append(
                    Bar(label, share, f"{100 * share:.0f} %", colour=0 if own >= 0 else None)
                )
            plot = bars(f"experts of {name} for {gates.source}", rows)
            shown.append({"ranker": name, "source": gates.source, "plot": plot})
    return shown


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
        ids = data.vectors(source).ids
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
        "resamples": data.scenario.evaluation.bootstrap_resamples,
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
    names, group_of = _map_groups(session, colour, vectors.ids)
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
        present = numbers[~np.isnan(numbers)]
        cuts = (
            np.unique(np.quantile(present, np.linspace(0, 1, 7)[1:-1])) if len(present) else present
        )
        edges = ["", *(f"{cut:.6g}" for cut in cuts), ""]
        names = [f"{low} – {high}" for low, high in zip(edges, edges[1:], strict=False)]
        above = np.searchsorted(cuts, numbers, side="right")
        return [*names, missing], np.where(np.isnan(numbers), len(names), above)
    values = [() if row is None else items.categorical[colour][row] for row in rows]
    counted: dict[str, int] = {}
    for item_values in values:
        for value in item_values[:1]:
            counted[value] = counted.get(value, 0) + 1
    names = sorted(counted, key=lambda value: (-counted[value], value))[: PALETTE - 1]
    group_of = {value: number for number, value in enumerate(names)}
    others = len(names)
    groups = [
        group_of.get(item_values[0], others) if item_values else others + 1
        for item_values in values
    ]
    return [*names, "others", missing], np.array(groups, int)


def _covering_source(session: Session) -> str:
    """The item source whose coverage the map shows: the first that has answers about groups."""
    sources = session.data.encoded["item"]
    return next(
        (one for one in sources if "collective" in session.data.vectors(one).extraction),
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
    predictions = session.predictions(ranker).of_rows(rows)
    is_judged = predictions.count > 0 and predictions.labels.min() != predictions.labels.max()
    shown: Values = {"name": ranker.name, "auc": None, "difference": None}
    if is_judged:
        shown["auc"] = evaluate_scores(
            predictions.labels, predictions.scores, predictions.user_ids
        )["auc"]
        if ranker is not session.rankers[0]:
            compared = session.compared_rows(session.rankers[0], ranker, rows)
            shown["difference"] = difference_of(compared)
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
    origin_numbers = np.array([origins.index(vectors.origin(one)[0]) for one in ids], int)
    shown: Values = {
        "ids": len(ids),
        "origins": dict(
            zip(origins, np.bincount(origin_numbers, minlength=3).tolist(), strict=True)
        ),
        "by_popularity": [],
        "width": vectors.centred.directions.shape[1],
    }
    if vectors.entity == "item":
        bounds = data.scenario.evaluation.item_popularity_bounds
        groups = np.searchsorted(bounds, data.items.rating_counts, side="right")
        for group, name in enumerate(count_groups(bounds)):
            counts = np.bincount(origin_numbers[groups == group], minlength=3).tolist()
            shown["by_popularity"].append(
                {"group": name, "items": sum(counts), **dict(zip(origins, counts, strict=True))}
            )
    return shown


def search(session: Session, parameters: Parameters) -> Values:
    """Items and users that a text finds."""
    text = parameters.text("q").strip()
    data = session.data
    matching = data.items.search(text, _FOUND_ITEMS) if text else []
    return {
        "q": text,
        "items": [
            {"id": one, "title": data.items.title(one), "attributes": data.items.attributes(one)}
            for one in matching
        ],
        "users": session.samples.search(text, _FOUND_USERS) if text else [],
        "title": "Search",
    }
