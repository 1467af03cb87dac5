from __future__ import annotations

import json
import math

import pytest

from serving.proof.result import Failure, ProofError, Quality
from tests.serving.proof.made_up import proof


def test_a_proof_that_holds_says_so() -> None:
    found = proof()
    found.require()
    assert found.largest_difference == 0.002
    assert found.summary() == (
        "proof (python, c_api): 256 validation examples and 2 edge cases, largest difference from "
        "the checkpoint 0.002 (allowed 0.02 in int8); auc on 8,393 validation rows 0.750000 in the "
        "checkpoint, 0.749500 in the export"
    )


def test_failures_are_named() -> None:
    failures = tuple(Failure("rest", f"signature {n}", "score of x differs") for n in range(12))
    with pytest.raises(ProofError) as error:
        proof(failures=failures).require()
    lines = str(error.value).splitlines()
    assert lines[0].endswith("so nothing is published:")
    assert lines[1] == "  rest, signature 0, score of x differs"
    assert len(lines) == 12
    assert lines[-1] == "  ... and 2 more"
    assert str(Failure("c_api", "", "cannot be loaded")) == "c_api, cannot be loaded"


def test_json_has_numbers_or_null() -> None:
    found = proof(
        to_checkpoint={"python": {"rank": math.inf}},
        quality=Quality("auc", math.nan, 0.5, 3),
        failures=(Failure("python", "rank", "no answer"),),
    )
    tree = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert tree["to_checkpoint"] == {"python": {"rank": None}}
    assert tree["quality"] == {
        **{"metric": "auc", "checkpoint": None, "export": 0.5, "rows": 3, "cost": None}
    }
    assert tree["failures"] == [{"way": "python", "signature": "rank", "text": "no answer"}]
    assert tree["seconds"] == 3.14
    assert proof().to_json()["quality"]["cost"] == pytest.approx(0.0005)
    assert proof(quality=None).to_json()["quality"] is None
