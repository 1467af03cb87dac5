"""Reading back what the last run of a pipeline found and did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_metadata
import tensorflow_model_analysis as tfma
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx

from trainer.tfx.readiness import PipelineFolders
from trainer.tfx.slice_features import USER_ACTIVITY, activity_groups
from trainer.tfx.summary import Anomaly, PipelineResult, SliceMetrics

_BASELINE = "baseline"


def read_results(folders: PipelineFolders) -> PipelineResult:
    """The result of the pipeline's last run."""
    store = ml_metadata.MetadataStore(
        tfx.orchestration.metadata.sqlite_metadata_connection_config(str(folders.metadata))
    )
    evaluation = _newest(store, "ModelEvaluation").uri
    validation = tfma.load_validation_result(evaluation)
    over_all: Any = None
    slices: dict[str, dict[bytes | int, SliceMetrics]] = {}
    for slice_metrics in tfma.load_metrics(evaluation):
        if not slice_metrics.slice_key.single_slice_keys:
            over_all = slice_metrics
            continue
        (key,) = slice_metrics.slice_key.single_slice_keys
        value = getattr(key, key.WhichOneof("kind"))
        slices.setdefault(key.column, {})[value] = _metrics(slice_metrics)
    (run,) = Path(_newest(store, "ModelRun").uri).iterdir()
    push = _newest(store, "PushedModel").custom_properties
    is_pushed = bool(push["pushed"].int_value)
    return PipelineResult(
        blessed=validation.validation_ok,
        failures=_failures(validation),
        test=_metrics(over_all),
        baseline=_metrics(over_all, is_baseline=True) if _has_baseline(over_all) else None,
        slices={feature: _in_order(feature, slices[feature]) for feature in sorted(slices)},
        anomalies=_anomalies(store),
        pushed=push["pushed_destination"].string_value if is_pushed else None,
        version=int(push["pushed_version"].string_value) if is_pushed else None,
        run=str(run),
        evaluation=evaluation,
    )


def _newest(store: Any, artifact_type: str) -> Any:
    return max(store.get_artifacts_by_type(artifact_type), key=lambda artifact: artifact.id)


def _in_order(feature: str, metrics: Mapping[bytes | int, SliceMetrics]) -> dict[str, SliceMetrics]:
    """The groups in ascending order, with their values as text."""
    named = {
        value.decode() if isinstance(value, bytes) else str(value): metrics[value]
        for value in sorted(metrics)
    }
    if feature == USER_ACTIVITY:
        return {group: named[group] for group in activity_groups() if group in named}
    return named


def _has_baseline(slice_metrics: Any) -> bool:
    return any(entry.key.model_name == _BASELINE for entry in slice_metrics.metric_keys_and_values)


def _metrics(slice_metrics: Any, is_baseline: bool = False) -> SliceMetrics:
    """The metrics of the new model, or of the baseline, from TFMA's message about a slice."""
    values = {
        entry.key.name: entry.value.double_value.value
        for entry in slice_metrics.metric_keys_and_values
        if not entry.key.is_diff and (entry.key.model_name == _BASELINE) == is_baseline
    }
    numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
    has_both_classes = 0 < values["mean_label"] < 1
    return SliceMetrics(
        auc=numbers["auc"] if has_both_classes else None,
        logloss=numbers["binary_crossentropy"],
        calibration=numbers["calibration"],
        mean_label=numbers["mean_label"],
        mean_score=numbers["mean_prediction"],
        n=int(values["example_count"]),
    )


def _failures(validation: Any) -> list[str]:
    return [
        f"{failure.metric_key.name} {_reason(failure)}"
        for slice_result in validation.metric_validations_per_slice
        for failure in slice_result.failures
    ]


def _reason(failure: Any) -> str:
    value, threshold = failure.metric_value.double_value.value, failure.metric_threshold
    if failure.metric_key.is_diff:
        allowed = threshold.change_threshold.absolute.value
        return f"differs by {value:+.4f} from the last blessed model's; at least {allowed:+.4f}"
    bounds = threshold.value_threshold
    parts = [f"{value:.4f};"]
    if bounds.HasField("lower_bound"):
        parts.append(f"at least {bounds.lower_bound.value:.4g}")
    if bounds.HasField("upper_bound"):
        parts.append(f"at most {bounds.upper_bound.value:.4g}")
    return " ".join(parts)


def _anomalies(store: Any) -> list[Anomaly]:
    """What the newest run of every validator found."""
    newest: dict[str, Path] = {}
    for artifact in sorted(
        store.get_artifacts_by_type("ExampleAnomalies"), key=lambda artifact: artifact.id
    ):
        folder = Path(artifact.uri)
        newest[folder.parents[1].name] = folder
    anomalies = []
    for validator, folder in newest.items():
        for file in sorted(folder.glob("Split-*/SchemaDiff.pb")):
            message = anomalies_pb2.Anomalies.FromString(file.read_bytes())
            for feature, info in message.anomaly_info.items():
                anomalies.append(
                    Anomaly(
                        found_by=validator,
                        split=file.parent.name.removeprefix("Split-"),
                        feature=feature,
                        description=info.description,
                    )
                )
    return anomalies
