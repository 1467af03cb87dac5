"""The module of user code that Evaluator loads: it adds `user_activity` to the features.

TFMA judges groups of examples by values of features, and how active a user is stands in no feature
as a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from preprocessing.records.contract import POSITION
from trainer.tfx.slice_features import ACTIVITY_BOUNDS, USER_ACTIVITY, activity_groups

_READS_FEATURES = "ExtractFeatures"


def custom_extractors(
    eval_shared_model: Any, eval_config: tfma.EvalConfig, tensor_adapter_config: Any
) -> list[tfma.extractors.Extractor]:
    """TFMA's default extractors, with one more behind that of the features.

    Evaluator looks for a function of this name and calls it with these arguments.
    """
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    index = [extractor.stage_name for extractor in extractors].index(_READS_FEATURES) + 1
    adding = tfma.extractors.Extractor("AddUserActivity", beam.Map(with_user_activity))
    return [*extractors[:index], adding, *extractors[index:]]


def with_user_activity(extracts: Mapping[str, Any]) -> dict[str, Any]:
    """A batch of extracts with the feature `user_activity` [batch, 1], from `position`."""
    features = extracts[tfma.FEATURES_KEY]
    positions = np.asarray(features[POSITION]).reshape(-1, 1)
    groups = np.array(activity_groups(), dtype=object)
    activity = groups[np.digitize(positions, ACTIVITY_BOUNDS)]
    return {**extracts, tfma.FEATURES_KEY: {**features, USER_ACTIVITY: activity}}
