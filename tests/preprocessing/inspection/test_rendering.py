from __future__ import annotations

from preprocessing.inspection.inspect import rendered


def test_views_become_lines():
    view = {
        "path": "a",
        "counts": {"in": 1234, "by_reason": {}, "shares": [0.5, None, True]},
        "records": [{"id": "x", "history": {"count": 1000, "first": [1], "last": [9]}}],
        "features": {
            "id": {
                "type": "bytes",
                "records": 2,
                "values_per_record": {"minimum": 1, "mean": 1.0, "maximum": 1},
                "distinct": 2,
                "most_common": [["x", 2]],
            },
            "score": {
                "type": "float32",
                "values_per_record": {"minimum": 0, "mean": 1.5, "maximum": 3},
                "minimum": -1.5,
                "not_finite": 3,
            },
        },
    }
    assert list(rendered(view)) == [
        "path: a",
        "counts:",
        "  in: 1,234",
        "  by_reason: none",
        "  shares: [0.5, -, yes]",
        "record 1:",
        "  id       x",
        "  history  [1, ..., 9] (1,000 values)",
        "features:",
        "  name   type     records  per record        distinct  minimum",
        "  id     bytes    2        1                 2                  often 'x' 2",
        "  score  float32           0 to 3, mean 1.5            -1.5     not finite 3",
    ]
