from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest

from models.vector_tables import stored_vectors
from serving.proof.result import (
    LOADER_BOUND,
    SCORE_BOUNDS,
    ProofError,
    ProofFailure,
    Quality,
    compare_quality,
    finite,
    largest_gap,
    scaled,
)
from serving.proof.samples import ProofSamples, SignatureForms
from tests.serving.exports import exported
from tests.serving.proof.synthetic_proof import proof


def test_a_proof_that_holds_says_so() -> None:
    actual = proof()
    actual.require()
    assert actual.largest_difference == 0.002
    assert actual.summary() == (
        "proof (python, c_api): 256 validation examples and 2 edge cases, largest difference from "
        "the checkpoint 0.002 (allowed 0.02 in int8); auc on 8,393 validation rows 0.750000 in the "
        "checkpoint, 0.749500 in the export"
    )


def test_failures_are_named() -> None:
    failures = tuple(
        ProofFailure("rest", f"signature {n}", "score of x differs") for n in range(12)
    )
    with pytest.raises(ProofError) as error:
        proof(failures=failures).require()
    lines = str(error.value).splitlines()
    assert lines[0].endswith("so nothing is published:")
    assert lines[1] == "  rest, signature 0, score of x differs"
    assert len(lines) == 12
    assert lines[-1] == "  ... and 2 more"
    assert str(ProofFailure("c_api", "", "cannot be loaded")) == "c_api, cannot be loaded"


def test_json_has_numbers_or_null() -> None:
    actual = proof(
        to_checkpoint={"python": {"rank": math.inf}},
        quality=Quality("auc", math.nan, 0.5, 3),
        failures=(ProofFailure("python", "rank", "no answer"),),
    )
    tree = json.loads(json.dumps(actual.to_json(), allow_nan=False))
    assert tree["to_checkpoint"] == {"python": {"rank": None}}
    assert tree["quality"] == {
        **{"metric": "auc", "checkpoint": None, "export": 0.5, "rows": 3, "cost": None}
    }
    assert tree["failures"] == [{"way": "python", "signature": "rank", "text": "no answer"}]
    assert tree["seconds"] == 3.14
    assert proof().to_json()["quality"]["cost"] == pytest.approx(0.0005)
    assert proof(quality=None).to_json()["quality"] is None


@pytest.mark.parametrize(("number_format", "share"), [("float16", 2**-11), ("int8", 1 / 254)])
def test_rounding_moves_an_element_by_the_share_of_the_largest_that_the_text_says(
    number_format: str, share: float
) -> None:
    random = np.random.default_rng(1)
    table = (random.normal(size=[2000, 16]) * random.lognormal(size=[2000, 1])).astype(np.float32)
    stored = stored_vectors(table, number_format, "t")  # type: ignore[arg-type]
    values = stored["values"].astype(np.float64)
    if "scales" in stored:
        values *= stored["scales"][:, np.newaxis]
    moved = np.abs(values - table).max(axis=1) / np.abs(table).max(axis=1)
    # Float32 arithmetic of the scale may add a rounding of its own.
    assert share / 4 < moved.max() <= share * (1 + 1e-5)


def test_coarser_formats_have_wider_bounds() -> None:
    assert LOADER_BOUND < SCORE_BOUNDS["float32"] < SCORE_BOUNDS["float16"] < SCORE_BOUNDS["int8"]
    assert SCORE_BOUNDS["float32"] == 1e-5


def test_bounds_of_large_numbers_grow_with_them() -> None:
    assert scaled(1e-5, 0.2) == 1e-5
    assert scaled(1e-5, 40.0) == pytest.approx(4e-4)


NAMES = ("first", "second")


def scores(*values: float) -> dict[str, np.ndarray]:
    return {"score": np.array(values, np.float32)}


def test_the_largest_difference_is_named() -> None:
    gap = largest_gap(scores(0.25, 0.5), scores(0.25, 0.75), 1e-5, NAMES)
    assert gap.difference == 0.25
    assert not gap.is_within
    assert gap.text == (
        "score of second: 0.5 expected, 0.75 found, a difference of 0.25 where 1e-05 is allowed"
    )
    assert largest_gap(scores(0.25, 0.5), scores(0.25, 0.75), 0.25, NAMES).is_within


def test_no_number_and_other_shapes_and_outputs_are_no_match() -> None:
    assert largest_gap(scores(0.5, 0.5), scores(0.5, np.nan), 1.0, NAMES).difference == np.inf
    gap = largest_gap(scores(0.5, 0.5), scores(0.5), 1.0, NAMES)
    assert (gap.difference, gap.text) == (np.inf, "score has shape [1] and not [2]")
    gap = largest_gap(scores(0.5), {"scores": np.zeros(1)}, 1.0, NAMES)
    assert (gap.difference, gap.text) == (np.inf, "outputs are scores and not score")


def test_nothing_differs_by_nothing() -> None:
    assert largest_gap(scores(), scores(), 1e-5, ()).difference == 0


def test_numbers_above_one_may_differ_by_more() -> None:
    expected, actual = {"vector": np.array([[100.0, 0]])}, {"vector": np.array([[100.0, 5e-4]])}
    gap = largest_gap(expected, actual, 1e-5, NAMES)
    assert gap.is_within
    assert gap.bound == pytest.approx(1e-3)


def search(items: list[bytes], values: list[float]) -> dict[str, np.ndarray]:
    return {
        "item_id": np.array([items], dtype=object),
        "score": np.array([values], np.float32),
    }


def test_items_with_equal_scores_may_change_places() -> None:
    expected = search([b"a", b"b", b"c"], [0.9, 0.5, 0.5])
    assert largest_gap(expected, search([b"a", b"c", b"b"], [0.9, 0.5, 0.5]), 1e-5, NAMES).is_within
    # "d" has the score of the last item and may stand for it.
    assert largest_gap(expected, search([b"a", b"b", b"d"], [0.9, 0.5, 0.5]), 1e-5, NAMES).is_within


@pytest.mark.parametrize("items", [[b"b", b"a", b"c"], [b"d", b"b", b"c"]])
def test_items_with_other_scores_may_not(items: list[bytes]) -> None:
    expected = search([b"a", b"b", b"c"], [0.9, 0.5, 0.5])
    gap = largest_gap(expected, search(items, [0.9, 0.5, 0.5]), 1e-5, NAMES)
    assert gap.difference == np.inf
    assert "at place 1 of first: b'a' expected, and their scores do not tie" in gap.text


Arrays = Mapping[str, np.ndarray]


def samples(**rows: np.ndarray) -> ProofSamples:
    number = len(rows["item_id"])
    filled = {
        name: np.zeros(number, np.float32)
        for name in ("user_share_liked", "user_mean_rating", "user_log_count")
    } | {
        "user_id": np.full(number, b"u", object),
        "history_item_id": np.full([number, 1], b"", object),
        "history_rating": np.zeros([number, 1], np.float32),
    }
    return ProofSamples((), number, (), {**filled, **rows})


def test_auc_of_both_sides() -> None:
    rows = samples(
        item_id=np.array([b"1", b"2", b"3", b"4"], object),
        label=np.array([0, 0, 1, 1], np.float32),
    )
    checkpoint = {"score": np.array([0.1, 0.2, 0.3, 0.4], np.float32)}
    actual = np.array([0.1, 0.35, 0.3, 0.4], np.float32)  # One of four pairs is in the wrong order.

    def ask(signature: str, inputs: Arrays) -> Arrays:
        assert signature == "serving_default"
        return {"score": actual[[int(item) - 1 for item in inputs["item_id"]]]}

    quality = compare_quality(rows, checkpoint, SignatureForms(exported().path), ask)
    assert (quality.metric, quality.checkpoint, quality.export) == ("auc", 1.0, 0.75)
    assert (quality.cost, quality.rows) == (0.25, 4)


def test_padding_of_lists_does_not_count() -> None:
    rows = samples(
        item_id=np.array([[b"1", b"2"], [b"3", b""]], object),
        label=np.array([[0, 1], [1, 0]], np.float32),
    )
    scores = np.array([[0.5, 0.6], [0.4, 0.0]], np.float32)
    quality = compare_quality(
        rows, {"score": scores}, SignatureForms(exported().path), lambda *_: {"score": scores}
    )
    assert (quality.rows, quality.checkpoint) == (3, 0.5)


def test_one_class_has_no_auc() -> None:
    rows = samples(item_id=np.array([b"1"], object), label=np.ones(1, np.float32))
    scores = {"score": np.ones(1, np.float32)}
    quality = compare_quality(rows, scores, SignatureForms(exported().path), lambda *_: scores)
    assert np.isnan(quality.checkpoint)


def test_recall_of_searches() -> None:
    rows = samples(item_id=np.array([b"a", b"b"], object))
    items = np.array([[b"a", *[b"x"] * 10], [*[b"x"] * 10, b"b"]], object)
    expected = {"item_id": items, "score": np.zeros(items.shape, np.float32)}
    swapped = {**expected, "item_id": items[:, ::-1]}
    quality = compare_quality(rows, expected, SignatureForms(exported().path), lambda *_: swapped)
    assert quality.metric == "new_items_recall_at_10"
    # Only the first ten of the eleven items count.
    assert (quality.checkpoint, quality.export) == pytest.approx((0.5, 0.5))


def test_what_is_no_number_is_null_wherever_it_is() -> None:
    tree = {"a": [1.5, math.nan, ("x", -math.inf)], "b": {"c": math.inf, "d": 0}, "e": None}
    assert finite(tree) == {"a": [1.5, None, ["x", None]], "b": {"c": None, "d": 0}, "e": None}
