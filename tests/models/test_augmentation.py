from __future__ import annotations

import numpy as np
import pytest

from models.assembly import Augmented, augment
from tests.models.augmented_batches import SHAPES, TABLES, Lookup, prepared


@pytest.mark.parametrize(("shape", "users"), SHAPES)
def test_augmented_vectors_of_candidates_and_histories_in_one_call(
    shape: tuple[int, ...], users: int
) -> None:
    lookup, features = Lookup(), prepared(shape, users)
    augmented = augment(lookup, features, training=True)
    assert lookup.calls == 1
    for source in ("item", "plot"):
        for kind, vectors in (("", augmented.own), ("history_", augmented.history)):
            rows = features[f"{kind}knowledge_row/{source}"]
            np.testing.assert_array_equal(vectors[source], TABLES[source][rows])
    np.testing.assert_array_equal(
        augmented.own["user"], TABLES["user"][features["knowledge_row/user"]]
    )
    assert set(augmented.history) == {"item", "plot"}
    assert set(augmented.defaults) == set(Lookup.sources)
    assert augment(lookup, features).defaults == {}


def test_without_an_adapter_nothing_is_augmented() -> None:
    assert augment(None, prepared((3,), 3)) == Augmented({}, {})
