from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from configs.loading import ConfigurationError
from preprocessing.records.contract import features_of
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import parse_examples
from tests.scenarios import rich_scenario, tiny_scenario
from tests.serving.exports import exported_variant, user_rows
from trainer.evaluation.exports import ExportedRetrieval


def serialized() -> tf.Tensor:
    files = WorkDirectory(rich_scenario().work_dir).examples.shards("test", "retrieval")
    dataset = tf.data.TFRecordDataset([str(file) for file in files], compression_type="GZIP")
    (batch,) = dataset.batch(4096)
    return batch


def test_ranks_are_those_of_the_exports_own_search() -> None:
    export = exported_variant("two_tower")
    ranks = ExportedRetrieval(export.loaded, export.run.scenario)(serialized())
    features = list(export.loaded.signatures["top_k"].structured_input_signature[1])
    assert set(features) == set(user_rows())
    known = features_of("retrieval", export.run.scenario.data)
    parsed = parse_examples(serialized(), known)
    actual = export.loaded.signatures["top_k"](**{name: parsed[name] for name in features})
    places = actual["item_id"].numpy().astype(str) == ranks.item_ids[:, np.newaxis]
    in_search = places.any(axis=1)
    # The search never gives an item of the history, the ranks always have the chosen one.
    assert in_search.mean() > 0.9
    better = ranks.among_new.better[in_search]
    tied = ranks.among_new.tied[in_search]
    place = places.argmax(axis=1)[in_search]
    assert ((better <= place) & (place <= better + tied)).all()


def test_a_model_that_reads_other_profiles_is_refused() -> None:
    export = exported_variant("two_tower")
    with pytest.raises(ConfigurationError, match="reads profile_age, profile_city, which"):
        ExportedRetrieval(export.loaded, tiny_scenario())
