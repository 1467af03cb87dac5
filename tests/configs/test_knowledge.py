from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from configs.knowledge import Encoder, Grouping, Knowledge, SourceAnswers

ITEM_ANSWERS: dict[str, Any] = {"entity": "item", "individual": ["items.jsonl"]}
USER_ANSWERS: dict[str, Any] = {"entity": "user", "individual": ["users.jsonl"]}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("item", ("item",)),
        ("item, user", ("item", "user")),
        (["user"], ("user",)),
        ("", ()),
    ],
)
def test_sources_may_be_one_text(written: object, read: tuple[str, ...]) -> None:
    knowledge = Knowledge.model_validate(
        {"sources": written, "answers": {"item": ITEM_ANSWERS, "user": USER_ANSWERS}}
    )
    assert knowledge.sources == read


def test_a_source_without_answers_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"source 'user' is not described .*there: item"):
        Knowledge.model_validate({"answers": {"item": ITEM_ANSWERS}})


def test_a_source_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="'item' is named 2 times; name it once"):
        Knowledge.model_validate({"sources": "item, item", "answers": {"item": ITEM_ANSWERS}})


def test_collective_answers_need_groups() -> None:
    with pytest.raises(ValidationError, match="need 'groups'"):
        SourceAnswers(entity="item", collective=["groups.jsonl"])
    with pytest.raises(ValidationError, match="at least one file"):
        SourceAnswers(entity="item")
    accepted = SourceAnswers(entity="item", collective=["groups.jsonl"], groups="groups.csv")
    assert accepted.groups == "groups.csv"


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ({"collective": ["g.jsonl"], "groups": "g.csv", "grouping": {}}, "exclude each other"),
        (
            {"collective": ["g.jsonl"], "grouping": {}, "groups_verified": True},
            "'groups_verified' is for a 'groups' file of your own",
        ),
        ({"individual": ["a.jsonl"], "vectors": ["v.npz"]}, "in place of answers"),
        ({"vectors": ["v.npz"], "factor": "plot"}, "in place of answers"),
        ({"individual": ["a.jsonl"], "factor": "plot", "factors": ["genre"]}, "exclude each other"),
        ({"individual": ["a.jsonl"], "random": {}}, "'random' .* excludes 'individual'"),
        ({"metadata": ["title"], "random": {}}, "'metadata' .* excludes 'random'"),
        ({"vectors": ["v.npz"], "collaborative": {}}, "'vectors' .* excludes 'collaborative'"),
        ({"collaborative": {}, "groups": "g.csv"}, "'collaborative' .* excludes 'groups'"),
        ({"metadata": ["title"], "grouping": {}}, "'metadata' .* excludes 'grouping'"),
        ({"metadata": []}, "at least one file .* 'metadata', 'random' or 'collaborative'"),
        ({"entity": "user", "metadata": ["title"]}, "are for item sources"),
        ({"entity": "user", "collaborative": {}}, "are for item sources"),
        ({"random": {"dimension": 1}}, "greater than or equal to 2"),
        ({"collaborative": {"dimension": 1}}, "greater than or equal to 2"),
    ],
)
def test_contradicting_answers_are_refused(described: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        SourceAnswers.model_validate({"entity": "item"} | described)


def test_controls_stand_in_place_of_answers() -> None:
    metadata = SourceAnswers.model_validate({"entity": "item", "metadata": "title, genres"})
    assert metadata.metadata == ("title", "genres")
    user = SourceAnswers.model_validate({"entity": "user", "random": {}})
    assert user.random is not None and (user.random.dimension, user.random.seed) == (384, 0)
    rated = SourceAnswers.model_validate({"entity": "item", "collaborative": {"seed": 4}})
    assert rated.collaborative is not None
    assert (rated.collaborative.dimension, rated.collaborative.seed) == (64, 4)


def test_vectors_made_elsewhere_may_name_groups() -> None:
    answers = SourceAnswers(entity="item", vectors=["v.npz"], groups="groups.csv")
    assert answers.groups == "groups.csv"


def test_groups_may_be_made_instead_of_named() -> None:
    answers = SourceAnswers(entity="item", collective=["g.jsonl"], grouping=Grouping())
    assert answers.grouping == Grouping(features=("co_occurrence", "attributes"), maximum_size=80)


@pytest.mark.parametrize("features", [[], ["text", "text"], ["colour"]])
def test_grouping_needs_known_features(features: list[str]) -> None:
    with pytest.raises(ValidationError):
        Grouping.model_validate({"features": features})


def test_factors_become_sources() -> None:
    answers = {"item": ITEM_ANSWERS | {"factors": ["genre", "plot"]}, "user": USER_ANSWERS}
    knowledge = Knowledge.model_validate({"sources": ["item_plot", "user"], "answers": answers})
    assert list(knowledge.answers) == ["item_genre", "item_plot", "user"]
    assert knowledge.answers["item_plot"].factor == "plot"
    assert knowledge.answers["item_plot"].individual == ["items.jsonl"]
    assert Knowledge.model_validate(knowledge.model_dump()) == knowledge


def test_a_factor_must_not_hide_a_source() -> None:
    answers = {"item": ITEM_ANSWERS | {"factors": ["plot"]}, "item_plot": ITEM_ANSWERS}
    with pytest.raises(ValidationError, match="source 'item_plot' is a factor of 'item'"):
        Knowledge.model_validate({"sources": ["item_plot"], "answers": answers})


@pytest.mark.parametrize("kind", ["sentence-transformers", "endpoint"])
def test_encoders_by_name_need_the_name(kind: str) -> None:
    with pytest.raises(ValidationError, match="needs 'model'"):
        Encoder.model_validate({"kind": kind})
    assert Encoder.model_validate({"kind": kind, "model": "m"}).model == "m"
