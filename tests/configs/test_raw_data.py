from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from configs.data import Attribute, Catalogue, Data, InteractionFilter, RerankLists, Split, Table
from tests.configs.refusals import assert_refused


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Split, {"by": "item"}),
        (Split, {"fractions": (0.8, 0.2)}),
        (Split, {"fractions": (0.8, 0.1, 0.2)}),
        (Split, {"fractions": (0.9, 0.1, 0.0)}),
        (Split, {"fractions": (1.2, -0.1, -0.1)}),
        (Split, {"knowledge_history_cap": -1}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    assert_refused(section, values)


def test_fractions_may_miss_one_by_rounding() -> None:
    assert Split(fractions=(1 / 3, 1 / 3, 1 / 3)).fractions == (1 / 3, 1 / 3, 1 / 3)


def test_a_table_is_one_path_or_several() -> None:
    assert Table(path="a.csv").paths == ("a.csv",)
    assert Table(path=("a.csv", "b-*.csv")).paths == ("a.csv", "b-*.csv")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"path": ""}, "names no file"),
        ({"path": []}, "names no file"),
        ({"path": "a", "header": False}, "needs 'column_names'"),
        ({"path": "a", "column_names": ["user"]}, "needs 'header: false'"),
        ({"path": "a", "header": False, "column_names": ["x", "x"]}, "a column twice"),
    ],
)
def test_tables_need_files_and_column_names(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Catalogue.model_validate(table)


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        ({"kind": "numeric", "separator": "|"}, "for categorical attributes"),
        ({"kind": "numeric", "values": {"1": "one"}}, "for categorical attributes"),
        ({"kind": "categorical", "flags": ["a"], "column": "b"}, "in place of 'column'"),
        ({"kind": "numeric", "pattern": "(year"}, "not a regular expression"),
        ({"kind": "numeric", "pattern": "year"}, "exactly one group"),
        ({"kind": "numeric", "pattern": "(a)(b)"}, "exactly one group"),
    ],
)
def test_options_must_fit_the_attribute(attribute: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Attribute.model_validate(attribute)


def test_the_documented_pattern_finds_the_year() -> None:
    description = Attribute.model_fields["pattern"].description or ""
    (pattern,) = re.findall(r"'(.*)' for the year", description)
    match = re.search(pattern, "Toy Story (1995)")
    assert match and match[1] == "1995"


def test_a_filter_without_minimum_keeps_everything() -> None:
    assert InteractionFilter().keeps_everything
    assert not InteractionFilter(minimum_item_interactions=2).keeps_everything


def test_a_rerank_window_must_fit_its_list() -> None:
    assert (RerankLists().window, RerankLists().length) == (4, 10)
    with pytest.raises(ValidationError, match="larger than"):
        RerankLists(window=5, length=4)


def data(columns: dict[str, str | None]) -> Data:
    interactions = {"path": "log.csv", "columns": columns}
    return Data.model_validate({"interactions": interactions, "catalogue": {"path": "items.csv"}})


@pytest.mark.parametrize(
    ("columns", "liked_from", "implicit"),
    [
        ({}, 4.0, False),
        ({"label": "click"}, 4.0, False),
        ({"label": "click", "rating": None}, 1.0, False),
        ({"rating": None}, 1.0, True),
    ],
)
def test_without_ratings_the_label_says_what_is_liked(
    columns: dict[str, str | None], liked_from: float, implicit: bool
) -> None:
    described = data(columns)
    assert (described.liked_from, described.is_implicit) == (liked_from, implicit)


def test_some_kind_of_example_is_made() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Data.model_validate({**data({}).model_dump(), "examples": []})


def with_labels(labels: dict[str, Any], columns: dict[str, str | None] | None = None) -> Data:
    return Data.model_validate({**data(columns or {}).model_dump(), "labels": labels})


@pytest.mark.parametrize(
    ("labels", "columns", "problem"),
    [
        ({"seen": {}}, {}, "either 'column' or 'minimum_rating'"),
        ({"seen": {"column": "c", "minimum_rating": 3}}, {}, "either 'column' or"),
        ({"label": {"column": "c"}}, {}, "the first label's own name"),
        ({"to the end": {"column": "c"}}, {}, "becomes the feature label_to the end; use letters"),
        ({"loved": {"minimum_rating": 5}}, {"rating": None}, "needs data.interactions.columns"),
        ({f"l{n}": {"column": "c"} for n in range(64)}, {}, "at most 63 items"),
    ],
)
def test_extra_labels_need_one_origin_and_a_plain_name(
    labels: dict[str, Any], columns: dict[str, str | None], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        with_labels(labels, columns)


def test_extra_labels_keep_their_order() -> None:
    labels = {"loved": {"minimum_rating": 5}, "a_click": {"column": "clicked"}}
    described = with_labels(labels, {"rating": "stars"})
    assert list(described.labels) == ["loved", "a_click"]
    assert described.labels["loved"].minimum_rating == 5.0
    assert with_labels({"seen": {"column": "c"}}, {"rating": None}).labels["seen"].column == "c"
