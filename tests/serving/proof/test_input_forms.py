from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from preprocessing.records.contract import REQUEST_FEATURES, FeatureType, profile_feature
from preprocessing.records.parsing import parse_examples
from serving.proof.samples import SignatureForms, serialized_examples
from tests.serving.exports import exported, profile_rows


class _Searching(tf.Module):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, "item_id"),
            tf.TensorSpec([None], tf.string, "text"),
        ]
    )
    def find(self, item_id: tf.Tensor, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"item_id": item_id, "length": tf.strings.length(text)}


@pytest.fixture(scope="module")
def whole_numbers(tmp_path_factory: pytest.TempPathFactory) -> SignatureForms:
    folder = tmp_path_factory.mktemp("whole_numbers")
    module = _Searching()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.find})
    return SignatureForms(folder)


def test_serialized_rows_parse_back_into_the_same_rows() -> None:
    rows = profile_rows()
    features = [
        *REQUEST_FEATURES,
        profile_feature("city", "categorical"),
        profile_feature("age", "numeric"),
    ]
    parsed = parse_examples(tf.constant(serialized_examples(rows)), features)
    for name, values in rows.items():
        found = parsed[name].numpy()
        if name == "profile_city":  # A gap before a value closes up.
            assert [{*row} - {b""} for row in found] == [{*row} - {b""} for row in values]
        elif values.ndim == 2:
            padded = np.full_like(values, b"" if values.dtype == object else 0)
            if name == "profile_age":
                padded[:] = np.nan
            padded[:, : found.shape[1]] = found
            np.testing.assert_array_equal(padded, values)
        else:
            np.testing.assert_array_equal(found, values)
    assert {feature.type for feature in features} == {FeatureType.BYTES, FeatureType.FLOAT}


def test_signatures_are_sent_features_or_examples() -> None:
    forms = SignatureForms(exported().path)
    rows = profile_rows()
    assert forms.id_type == "string"
    sent = forms.inputs("serving_default", rows)
    assert set(sent) == {feature.name for feature in REQUEST_FEATURES}
    assert all(sent[name] is rows[name] for name in sent)
    (examples,) = forms.inputs("classify", rows).items()
    assert examples[0] == "inputs"
    assert examples[1].tolist() == serialized_examples(rows).tolist()


def test_ids_become_whole_numbers_where_the_export_takes_them(
    whole_numbers: SignatureForms,
) -> None:
    raw = {"item_id": np.array([b"31", b"", b"7"], object), "text": np.array([b"1"] * 3, object)}
    sent = whole_numbers.inputs("serving_default", raw)
    assert whole_numbers.id_type == "int64"
    assert sent["item_id"].dtype == np.int64
    assert sent["item_id"].tolist() == [31, -1, 7]
    assert sent["text"] is raw["text"]


def test_an_id_that_is_no_number_is_named(whole_numbers: SignatureForms) -> None:
    with pytest.raises(CommandError, match=r"the data has b'tt001'; set serving.id_type=string"):
        whole_numbers.ids(np.array([b"1", b"tt001"], object))
