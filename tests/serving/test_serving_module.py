from __future__ import annotations

import tensorflow as tf

from serving.export import serving_module
from serving.ranking_module import RankingModule, RerankingModule
from serving.retrieval_module import RetrievalModule
from tests.runs import random_model
from tests.scenarios import rich_scenario


def test_every_kind_of_model_has_a_module_that_holds_its_parts() -> None:
    for backbone, kind in (
        ("din", RankingModule),
        ("dlcm", RerankingModule),
        ("two_tower", RetrievalModule),
    ):
        model = random_model(rich_scenario(model__backbone=backbone))
        module = serving_module(model)
        assert isinstance(module, kind)
        assert {"profile_city", "profile_age"} <= {feature.name for feature in module.features}
        held = {variable.ref() for variable in module.variables}
        assert {weight.ref() for weight in model.scorer.trainable_weights} <= held
        assert {table.ref() for table in model.adapter.variables} <= held
        assert model not in module.submodules


def test_one_users_features_serve_all_candidates() -> None:
    module = serving_module(random_model(rich_scenario(model__adapter="none")))
    signature = module.signatures()["rank"]
    (_, inputs) = signature.structured_input_signature
    for name, specification in inputs.items():
        assert specification.shape[0] == (None if name == "item_id" else 1)
        assert specification.dtype in (tf.string, tf.float32)
