"""The models that TensorFlow Serving's REST guide asks, made anew.

`half_plus_two` and `half_plus_three` are graphs of TensorFlow 1 with the signatures of TensorFlow
Serving's own test data; the other one has an input or output for every form the guide shows.
https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/api_rest.md
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

v1 = tf.compat.v1
constants = v1.saved_model.signature_constants


def save_half_plus(folder: Path, addend: float) -> None:
    """x -> x / 2 + addend, and the same plus one under other names."""
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        feature = tf.io.FixedLenFeature([1], tf.float32)
        defaulted = tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0])
        parsed = tf.io.parse_example(serialized, {"x": feature, "x2": defaulted})
        half = v1.Variable(0.5, name="a", use_resource=True)
        x = tf.identity(parsed["x"], name="x")
        x2 = tf.identity(parsed["x2"], name="x2")
        y = tf.identity(half * x + addend, name="y")
        y2 = tf.identity(half * x + (addend + 1), name="y2")
        y3 = tf.identity(half * x2 + (addend + 1), name="y3")
        regress, classify = constants.REGRESS_METHOD_NAME, constants.CLASSIFY_METHOD_NAME
        signatures = {
            "serving_default": _signature({"x": x}, {"y": y}, constants.PREDICT_METHOD_NAME),
            regress: _signature({"inputs": serialized}, {"outputs": y}, regress),
            "regress_x_to_y": _signature({"inputs": serialized}, {"outputs": y}, regress),
            "regress_x_to_y2": _signature({"inputs": serialized}, {"outputs": y2}, regress),
            "regress_x2_to_y3": _signature({"inputs": x2}, {"outputs": y3}, regress),
            "classify_x_to_y": _signature({"inputs": serialized}, {"scores": y}, classify),
            "classify_x2_to_y3": _signature({"inputs": x2}, {"scores": y3}, classify),
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()


def _signature(
    inputs: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor], method_name: str
) -> object:
    def described(tensors: dict[str, tf.Tensor]) -> dict[str, object]:
        return {name: v1.saved_model.build_tensor_info(one) for name, one in tensors.items()}

    return v1.saved_model.build_signature_def(described(inputs), described(outputs), method_name)


def _spec(data_type: tf.DType, *shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, data_type)


class GuideModel(tf.Module):
    """Signatures that give back what they get, or something easily computed by hand."""

    @tf.function(
        input_signature=[
            _spec(tf.string, None),
            _spec(tf.int64, None, 5),
            _spec(tf.float32, None, 2, 2),
        ]
    )
    def sensors(self, tag, signal, sensor):
        """Upper-case tags, sums of signals and transposed sensors."""
        return {
            "tag": tf.strings.upper(tag),
            "signal": tf.reduce_sum(signal, axis=1),
            "sensor": tf.transpose(sensor, [0, 2, 1]),
        }

    @tf.function(input_signature=[_spec(tf.string, None)])
    def texts(self, text):
        return {"text": text}

    @tf.function(input_signature=[_spec(tf.int32, None, 1, 2)])
    def pairs(self, pair):
        return {"doubled": pair * 2}

    @tf.function(input_signature=[_spec(tf.float32, None)])
    def readings(self, reading):
        return {"reading": tf.identity(reading)}

    @tf.function(input_signature=[_spec(tf.string, None)])
    def images(self, image_bytes):
        return {"image_bytes": image_bytes, "size": tf.strings.length(image_bytes)}

    @tf.function(input_signature=[_spec(tf.int64, None), _spec(tf.int64, None)])
    def ids(self, user_id, item_id):
        """Both ids again, so that every digit shows."""
        return {"user_id": tf.identity(user_id), "item_id": tf.identity(item_id)}

    @tf.function(input_signature=[_spec(tf.bool, None), _spec(tf.float64, None)])
    def other_types(self, flag, double):
        return {"flag": tf.logical_not(flag), "double": double / 3}

    @tf.function(input_signature=[_spec(tf.float16, None)])
    def halves(self, half):
        return {"half": tf.identity(half)}

    @tf.function(input_signature=[_spec(tf.float32, None)])
    def half_results(self, number):
        return {"half": tf.cast(number, tf.float16)}

    @tf.function(input_signature=[_spec(tf.float32, None)])
    def totals(self, number):
        """One output without rows, one with two."""
        return {"total": tf.reduce_sum(number), "two": tf.stack([number[0], number[-1]])}

    @tf.function(input_signature=[_spec(tf.string, None)])
    def classify_objects(self, inputs):
        """The caption with the number of bytes of the image as its score, and "nothing" with 0."""
        text = tf.io.FixedLenFeature([], tf.string)
        features = tf.io.parse_example(inputs, {"image": text, "caption": text})
        sizes = tf.cast(tf.strings.length(features["image"]), tf.float32)
        captions = features["caption"]
        return {
            "classes": tf.stack([captions, tf.fill(tf.shape(captions), "nothing")], axis=1),
            "scores": tf.stack([sizes, tf.zeros_like(sizes)], axis=1),
        }


def save_guide_model(folder: Path) -> None:
    """Saves the signatures above under their own names."""
    model = GuideModel()
    signatures = {
        name: getattr(model, name)
        for name in (
            *("sensors", "texts", "pairs", "readings", "images", "ids", "other_types", "halves"),
            *("half_results", "totals", "classify_objects"),
        )
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)


@functools.cache
def guide_base_paths() -> dict[str, Path]:
    """Model name -> base path, made once per process; versions are 123, and 5 of `guide`."""
    root = Path(tempfile.mkdtemp(prefix="guide_models_"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    save_half_plus(root / "half_plus_two" / "00000123", 2.0)
    save_half_plus(root / "half_plus_three" / "00000123", 3.0)
    save_guide_model(root / "guide" / "5")
    return {path.name: path for path in root.iterdir()}
