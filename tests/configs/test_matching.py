from __future__ import annotations

import pytest
from pydantic import BaseModel

from configs.model import Match, Prior
from tests.configs.refusals import assert_refused


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Match, {"sources": []}),
        (Match, {"sources": ""}),
        (Match, {"sources": ["item", "plot", "item"]}),
        (Match, {"sources": "item, item"}),
        (Match, {"history_length": 0}),
        (Match, {"dimension": 1}),
        (Match, {"form": "fast"}),
        (Match, {"length_scale": 0.0}),
        (Match, {"bias": 0.0}),
        (Match, {"noise": -1.0}),
        (Match, {"dropout_rate": 1.0}),
        (Prior, {"sources": []}),
        (Prior, {"sources": ["item", "item"]}),
        (Prior, {"dimension": 1}),
        (Prior, {"length_scale": 0.0}),
        (Prior, {"folds": 1}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    assert_refused(section, values)


@pytest.mark.parametrize("section", [Match, Prior])
def test_sources_may_be_one_text(section: type[Match] | type[Prior]) -> None:
    assert section().sources == ("item",)
    described = section.model_validate({"sources": "item, title_genres"})
    assert described.sources == ("item", "title_genres")
