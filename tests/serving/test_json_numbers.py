from __future__ import annotations

import math

from serving.json_numbers import finite


def test_what_is_no_number_is_null_wherever_it_is() -> None:
    tree = {"a": [1.5, math.nan, ("x", -math.inf)], "b": {"c": math.inf, "d": 0}, "e": None}
    assert finite(tree) == {"a": [1.5, None, ["x", None]], "b": {"c": None, "d": 0}, "e": None}
