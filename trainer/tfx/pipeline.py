"""The components of the TFX pipeline, and what Evaluator must find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto.config_pb2 import PerSliceMetricThreshold
from tfx import v1 as tfx

from configs.scenario import Scenario
from preprocessing.records.contract import CTR, LABEL
from preprocessing.records.layout import WorkDirectory
from trainer.tfx import activity_extractor
from trainer.tfx.readiness import BlessingThresholds, PipelineFolders

RUN_FUNCTION = "serving.run_fn.run_fn"
"""Dotted name of the run function, which TFX's Trainer imports where it runs."""

_SIGNATURE, _SCORE = "predict_examples", "score"


def evaluator_config(thresholds: BlessingThresholds, slices: Iterable[str]) -> tfma.EvalConfig:
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


def _auc_threshold(thresholds: BlessingThresholds) -> tfma.MetricThreshold:
    return tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": thresholds.minimum_auc}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER,
            absolute={"value": -thresholds.largest_auc_drop},
        ),
    )


def _calibration_threshold(thresholds: BlessingThresholds) -> tfma.MetricThreshold | None:
    factor = thresholds.calibration_factor
    if factor is None:
        return None
    return tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(
            lower_bound={"value": 1 / factor}, upper_bound={"value": factor}
        )
    )


TRAIN, EVAL, TEST = "train", "eval", "test"
PART_OF_SPLIT = {TRAIN: "train", EVAL: "validation", TEST: "test"}
"""Split of TFX's examples -> part of ours."""

# Beam's own default first tries to download a runner.
_BEAM_ARGUMENTS = ["--runner=FnApiRunner"]


@dataclass(frozen=True)
class TrainerSettings:
    """What the Trainer component is told.

    Attributes:
      custom_config: names the scenario, see `trainer.run_fn.FnArgs`.
      train_steps: see `trainer.run_fn.FnArgs`; 0 for all epochs.
      eval_steps: see `trainer.run_fn.FnArgs`; 0 for all validation examples.
    """

    custom_config: Mapping[str, object]
    train_steps: int
    eval_steps: int


def build_pipeline(
    scenario: Scenario,
    settings: TrainerSettings,
    evaluation: tfma.EvalConfig,
    folders: PipelineFolders,
) -> tfx.dsl.Pipeline:
    """From the TFRecords of a work directory to a pushed model.

    Models with one `serving.model_name` succeed each other: a new one is compared with the last of
    them that was blessed.

    Args:
      scenario: names the work directory and the served model.
      settings: of Trainer.
      evaluation: of Evaluator.
      folders: where everything is written.
    """
    example_gen = _example_gen(scenario)
    examples = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(examples=examples)
    statistics = statistics_gen.outputs["statistics"]
    schema_gen = tfx.components.SchemaGen(statistics=statistics, exclude_splits=[EVAL, TEST])
    contract = tfx.components.ImportSchemaGen(
        schema_file=str(WorkDirectory(scenario.work_dir).examples.schema)
    ).with_id("ContractSchema")
    validators = [
        tfx.components.ExampleValidator(statistics=statistics, schema=schema_gen.outputs["schema"]),
        tfx.components.ExampleValidator(
            statistics=statistics, schema=contract.outputs["schema"]
        ).with_id("ContractValidator"),
    ]
    trainer = tfx.components.Trainer(
        run_fn=RUN_FUNCTION,
        examples=examples,
        train_args=tfx.proto.TrainArgs(splits=[TRAIN], num_steps=settings.train_steps),
        eval_args=tfx.proto.EvalArgs(splits=[EVAL], num_steps=settings.eval_steps),
        custom_config=dict(settings.custom_config),
    )
    trainer.add_upstream_nodes(validators)
    blessed = _latest_blessed_model()
    evaluator = tfx.components.Evaluator(
        examples=examples,
        example_splits=[TEST],
        model=trainer.outputs["model"],
        baseline_model=blessed.outputs["model"],
        eval_config=evaluation,
        module_path=activity_extractor.__name__,
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(
                base_directory=str(folders.pushed(scenario.serving.model_name))
            )
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=scenario.serving.model_name,
        pipeline_root=str(folders.artifacts),
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(folders.metadata)
        ),
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            contract,
            *validators,
            trainer,
            blessed,
            evaluator,
            pusher,
        ],
        beam_pipeline_args=_BEAM_ARGUMENTS,
        # TFX's cache does not see that the scenario's file or our code has changed.
        enable_cache=False,
    )


def _example_gen(scenario: Scenario) -> tfx.components.ImportExampleGen:
    folder = WorkDirectory(scenario.work_dir).examples.path / CTR
    splits = [
        tfx.proto.Input.Split(name=split, pattern=f"{part}/part-*.tfrecord.gz")
        for split, part in PART_OF_SPLIT.items()
    ]
    return tfx.components.ImportExampleGen(
        input_base=str(folder), input_config=tfx.proto.Input(splits=splits)
    )


def _latest_blessed_model() -> tfx.dsl.Resolver:
    artifacts = tfx.types.standard_artifacts
    return tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=artifacts.ModelBlessing),
    ).with_id("LatestBlessedModel")
