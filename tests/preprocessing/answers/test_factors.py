from __future__ import annotations

import json

import pytest

from preprocessing.answers.record import Answer, RejectedAnswer, factor_text, recorded_source

FACTORS = {"genre": "Neo-noir.", "mood/tone": " Bleak ", "plot": "", "cast": ["Ford"]}


def written(text: str) -> Answer:
    return Answer("item", "1", "individual", text)


def test_factors_stand_in_the_record_or_in_the_answer():
    generated = Answer("item", "1", "individual", "genre: Neo-noir.", factors=FACTORS)
    assert factor_text(generated, "genre") == "Neo-noir."
    assert factor_text(written(json.dumps(FACTORS)), "mood/tone") == " Bleak "


@pytest.mark.parametrize(
    ("answer", "factor", "reason"),
    [
        ("A neo-noir.", "genre", "unstructured_answer"),
        ('["genre"]', "genre", "unstructured_answer"),
        ("[" * 100_000, "genre", "unstructured_answer"),
        ('{"genre": NaN}', "genre", "unstructured_answer"),
        (json.dumps(FACTORS), "country", "missing_factor"),
        (json.dumps(FACTORS), "plot", "missing_factor"),
        (json.dumps(FACTORS), "cast", "missing_factor"),
        ('{"genre": null}', "genre", "missing_factor"),
        ('{"genre": "\\ud800"}', "genre", "invalid_text"),
    ],
)
def test_answers_without_the_factor_are_rejected(answer, factor, reason):
    with pytest.raises(RejectedAnswer) as raised:
        factor_text(written(answer), factor)
    assert raised.value.reason == reason


def test_records_name_the_source_without_its_factor():
    assert recorded_source("item_genre", "genre") == "item"
    assert recorded_source("item", "genre") == "item"
    assert recorded_source("item_genre", None) == "item_genre"
