"""What Evaluator measures, and what a model must reach to be blessed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.config_pb2 import PerSliceMetricThreshold

from preprocessing.records.contract import LABEL

_SIGNATURE, _SCORE = "predict_examples", "score"


@dataclass(frozen=True)
class Thresholds:
    """Bounds of the metrics over all examples; groups of examples have none.

    Attributes:
      minimum_auc: smallest AUC.
      largest_auc_drop: by how much the AUC may be below that of the last blessed model.
      calibration_factor: how far the mean score may be from the mean label, as a factor either way;
        None for scores that are no probabilities.
    """

    minimum_auc: float
    largest_auc_drop: float
    calibration_factor: float | None


def evaluator_config(thresholds: Thresholds, slices: Iterable[str]) -> tfma.EvalConfig:
    """Metrics over all examples and over groups, with thresholds.

    Args:
      thresholds: what blesses a model.
      slices: features by whose values examples are grouped.
    """
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                model_type=tfma.TF_GENERIC,
                signature_name=_SIGNATURE,
                prediction_key=_SCORE,
                label_key=LABEL,
            )
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    _metric("ExampleCount"),
                    _metric("AUC", _auc_threshold(thresholds)),
                    _metric("BinaryCrossEntropy"),
                    _metric("Calibration", _calibration_threshold(thresholds)),
                    _metric("MeanLabel"),
                    _metric("MeanPrediction"),
                    _metric("CalibrationPlot"),
                ]
            )
        ],
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=[feature]) for feature in slices),
        ],
    )


def _metric(name: str, threshold: tfma.MetricThreshold | None = None) -> tfma.MetricConfig:
    if threshold is None:
        return tfma.MetricConfig(class_name=name)
    # `MetricConfig.threshold` would ask the same of every group, however small.
    over_all = PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=threshold)
    return tfma.MetricConfig(class_name=name, per_slice_thresholds=[over_all])


def _auc_threshold(thresholds: Thresholds) -> tfma.MetricThreshold:
    return tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": thresholds.minimum_auc}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER,
            absolute={"value": -thresholds.largest_auc_drop},
        ),
    )


def _calibration_threshold(thresholds: Thresholds) -> tfma.MetricThreshold | None:
    factor = thresholds.calibration_factor
    if factor is None:
        return None
    return tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(
            lower_bound={"value": 1 / factor}, upper_bound={"value": factor}
        )
    )
