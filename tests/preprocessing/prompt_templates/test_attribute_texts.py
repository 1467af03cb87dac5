from __future__ import annotations

import pyarrow as pa

from preprocessing.prompt_templates.titles import attribute_texts


def test_numbers_are_written_as_people_do():
    numbers = pa.chunked_array([pa.array([1995.0, 0.5, None, float("nan"), 1e6])])
    assert attribute_texts(numbers) == ["1995", "0.5", "", "", "1000000"]


def test_several_values_stand_in_a_row():
    lists = pa.chunked_array([pa.array([["Drama", "War"], [], ["Art"]], pa.list_(pa.string()))])
    assert attribute_texts(lists) == ["Drama, War", "", "Art"]
