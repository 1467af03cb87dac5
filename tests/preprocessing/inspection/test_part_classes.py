from __future__ import annotations

import pytest

from preprocessing.examples import build_examples
from preprocessing.inspection.example_checks import PartClasses
from preprocessing.inspection.findings import Findings
from tests.preprocessing.inspection.validating import checks, validate


@pytest.mark.parametrize(
    ("labels", "records", "expected", "found"),
    [
        ([[1.0], [0.0]], 2, 2, {}),
        ([[1.0, 0.0]], 1, 1, {}),
        ([[0.0], [0.0]], 2, 2, {"one_class": 1}),
        ([[1.0, 1.0]], 1, 1, {"one_class": 1}),
        ([[], []], 2, 2, {}),  # examples for retrieval have no labels
        ([], 0, 0, {"empty_part": 1}),
        ([], 0, None, {"empty_part": 1}),
        ([], 0, 5, {}),
    ],
)
def test_parts_that_are_empty_or_have_one_class(labels, records, expected, found):
    classes, findings = PartClasses(), Findings()
    for of_example in labels:
        classes.add(of_example)
    classes.check(records, expected, "examples/ctr/test", findings)
    assert findings.by_check() == found


def test_validate_warns_of_such_parts(capsys, small_scenario, small_folder):
    rows = [f"bob,{item},{rating},{item}" for item, rating in enumerate((5, 1, 4, 5), 7)]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    scenario = small_scenario()
    build_examples(scenario)
    code, result, err = validate(capsys, scenario.work_dir)
    assert code == 0 and checks(result) == {"empty_part", "one_class"}
    assert result["by_check"] == {"empty_part": 2, "one_class": 1}
    assert "examples/ctr/train: all 2 labels of the part are 1" in err
    assert "examples/ctr/test: the part has no examples" in err
