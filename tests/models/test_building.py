from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.effects import declared
from configs.knowledge import Links
from configs.model import Model
from configs.scenario import Scenario
from configs.section import EntryTakesEffect
from models.adapters import ADAPTERS
from models.assembly import Augmented
from models.backbones import BACKBONES
from models.building import ModelTables, build_model, checked_options, example_kind, own_options
from models.item_ids import KnowledgeIds
from models.match import MatchMethod, MatchTables
from models.rerankers import RERANKERS
from models.retrieval import RETRIEVERS
from tests.models.builders import (
    ITEM_IDS,
    USER_IDS,
    Records,
    knowledge_records,
    model_tables,
    raw_features,
    small_scenario,
)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_scenario_decides_what_is_built(backbone: str) -> None:
    scenario = small_scenario(backbone=backbone, match="ridge", dropout_rate=0.1)
    model = build_model(scenario, model_tables())
    assert model(raw_features(3)).shape == (3,)
    (built,) = model.scorer._backbones
    assert isinstance(built, BACKBONES[backbone])
    assert model.adapter is not None
    assert model.adapter.sources == ("item", "user")
    assert model.adapter.width == 4
    assert model.adapter.network.num_shared_experts == 1
    assert model.inputs_preparation.matches is not None
    assert model.inputs_preparation.num_match_features == 2
    assert model.inputs_preparation.match_history_length == 5
    assert model.inputs_preparation.attention_history_length == 3


@pytest.mark.parametrize("name", [*RERANKERS, *RETRIEVERS])
def test_rerankers_and_retrieval_models(name: str) -> None:
    model = build_model(small_scenario(backbone=name), model_tables(with_profiles=True))
    kind = "rerank" if name in RERANKERS else "retrieval"
    assert model.kind == example_kind(name) == kind
    if kind == "rerank":
        raw = raw_features(2)
        lists = raw | {"item_id": tf.constant([["10", "20", ""], ["40", "60", "50"]])}
        scores = model.probabilities(lists)
        assert scores.shape == (2, 3)
        assert scores[0, 2] == 0
    else:
        users, items = model(raw_features(3))
        assert users.shape == items.shape == (3, 32)


def test_options_of_the_backbone_reach_it() -> None:
    scenario = small_scenario(backbone="dcnv2", backbone_options={"num_crosses": 1})
    (backbone,) = build_model(scenario, model_tables()).scorer._backbones
    assert backbone.num_crosses == 1
    wrong = small_scenario(backbone="dcnv2", backbone_options={"crosses": 1})
    with pytest.raises(ValueError, match="Did you mean 'num_crosses'"):
        build_model(wrong, model_tables())


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_adapter_by_its_name(adapter: str) -> None:
    scenario = small_scenario(
        adapter=adapter,
        mlp={"units": (5, 4)},
        moe={"expert_units": (5, 4), "num_experts": 2},
        pq={"num_codebooks": 2, "codebook_size": 2},
        standardized_knowledge=adapter != "pq",
    )
    model = build_model(scenario, model_tables())
    assert model(raw_features(3)).shape == (3,)
    assert model.adapter.sources == ("item", "user")
    assert (model.adapter.width, model.adapter.standardized) == (4, adapter != "pq")


def test_text_in_the_place_of_ids() -> None:
    scenario = small_scenario(adapter="replace_id", sources=("item", "plot"))
    model = build_model(scenario, model_tables())
    raw = raw_features(2) | {"item_id": tf.constant(["10", "20"])}
    assert model(raw).shape == (2,)
    assert model.adapter is None
    assert isinstance(model.scorer.assembly.items.ids, KnowledgeIds)
    names = {weight.name.split("/")[-1] for weight in model.trainable_weights}
    assert "item_id_embedding:0" not in names
    prepared = model.inputs_preparation(raw)
    assert not [name for name in prepared if name.startswith("knowledge_row/")]


def test_profiles_are_inputs_unless_they_are_not_wanted() -> None:
    tables = model_tables(with_profiles=True)
    profile = raw_features(4) | {"profile_jobs": tf.constant([["cook"], ["pilot"], [""], ["x"]])}
    with_profile = build_model(small_scenario(), tables)
    with_profile(profile)
    assert with_profile.scorer.assembly.profile is not None
    without = build_model(small_scenario(user_profile=False), tables)
    bare = {name: value for name, value in profile.items() if "profile" not in name}
    assert without(bare).shape == (4,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "prm", "tasks": {"loved": 1.0}}, "model.tasks is for CTR models; 'prm'"),
        ({"backbone": "two_tower", "match": "means"}, "set model.match=none"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(small_scenario(**options), model_tables())


@pytest.mark.parametrize("name", ["din", "prm"])
def test_class_weights_reach_models_of_labels(name: str) -> None:
    model = build_model(_with_class_weights(small_scenario(backbone=name)), model_tables())
    assert model.class_weights == (1.0, 2.0)


def test_class_weights_are_refused_where_there_are_no_classes() -> None:
    towers = _with_class_weights(small_scenario(backbone="two_tower"))
    with pytest.raises(ValueError, match="training.class_weights are for labels"):
        build_model(towers, model_tables())
    lists = _with_class_weights(small_scenario(backbone="prm"), list_loss="listwise")
    with pytest.raises(ValueError, match="class_weights are for list_loss pointwise"):
        build_model(lists, model_tables())


@pytest.mark.parametrize("learned", [True, False])
def test_a_learned_match_of_ratings_is_refused_where_xla_compiles(learned: bool) -> None:
    options = {"learned": learned, "dimension": 4, "history_length": 5}
    scenario = small_scenario(match="ridge", knowledge_match=options)
    training = scenario.training.model_copy(update={"xla": True})
    scenario = scenario.model_copy(update={"training": training})
    tables = model_tables()
    assert build_model(scenario, tables)
    records = tables.knowledge["item"]
    records.fold_vectors = [records.vectors] * 3
    if learned:
        with pytest.raises(ValueError, match="XLA cannot compile a learned match over .*'item'"):
            build_model(scenario, tables)
    else:
        assert build_model(scenario, tables)


def test_a_model_knows_which_of_its_sources_are_made_from_interactions() -> None:
    scenario = small_scenario(
        match="means",
        knowledge_match={"sources": ["plot", "item"], "dimension": 4, "history_length": 5},
        adapter="none",
        id_dropout_rate=0.5,
        id_dropout_hides="interactions",
    )
    tables = model_tables()
    records = tables.knowledge["item"]
    records.fold_vectors = [records.vectors] * 3
    model = build_model(scenario, tables)
    prepared = model.prepared(raw_features(60)) | {"match": tf.ones([60, 12])}
    tf.keras.utils.set_random_seed(0)
    _, match = model.scorer.assembly(prepared, Augmented(), training=True)
    np.testing.assert_array_equal(match[:, :6], 1)
    hidden = (match[:, 6:] == 0).numpy()
    assert (hidden.all(axis=1) == hidden.any(axis=1)).all()
    assert 0.2 < hidden.mean() < 0.8


@pytest.mark.parametrize("match", ["ridge", "means"])
def test_a_source_with_links_has_its_own_kernel_in_ridge_and_prior(match: str) -> None:
    sources = ["item", "plot"]
    ridge_options = {"length_scale": 0.4, "link_length_scale": 1.5, "link_dimension": 3}
    scenario = small_scenario(
        match=match,
        knowledge_match={"sources": sources, "dimension": 2, "history_length": 5} | ridge_options,
        prior=True,
        knowledge_prior={"sources": sources, "dimension": 2, "link_dimension": 4},
    )
    answers = scenario.knowledge.answers
    linked = answers["plot"].model_copy(update={"links": Links()})
    knowledge = scenario.knowledge.model_copy(update={"answers": answers | {"plot": linked}})
    inputs = build_model(
        scenario.model_copy(update={"knowledge": knowledge}), model_tables()
    ).inputs_preparation
    kernels = {
        source: (source_match.sizes.basis_width, source_match.method.length_scale)
        for source, source_match in inputs.matches.matches.items()
    }
    assert kernels == {"item": (2, 0.4), "plot": (3, 1.5) if match == "ridge" else (2, 0.4)}
    assert [(prior.num_landmarks, prior.length_scale) for prior in inputs.priors] == [
        (2, 0.5),
        (4, 0.5),
    ]


def _with_class_weights(scenario: Scenario, **settings: Any) -> Scenario:
    changed = {"class_weights": (1.0, 2.0), **settings}
    training = scenario.training.model_copy(update=changed)
    return scenario.model_copy(update={"training": training})


def test_a_model_without_knowledge_needs_none() -> None:
    scenario = small_scenario(adapter="none", match="none")
    tables = ModelTables(model_tables().catalogue, {})
    model = build_model(scenario, tables)
    assert model.adapter is None
    assert model.inputs_preparation.num_match_features == 0
    assert model(raw_features(3)).shape == (3,)


def test_sources_keep_the_order_of_the_scenario() -> None:
    scenario = small_scenario()
    knowledge = scenario.knowledge.model_copy(update={"sources": ("user",)})
    scenario = scenario.model_copy(update={"knowledge": knowledge})
    model = build_model(scenario, model_tables())
    assert model.adapter is not None
    assert model.adapter.sources == ("user",)
    prepared = model.inputs_preparation(raw_features(2))
    assert [name for name in prepared if name.startswith("knowledge_row/")] == [
        "knowledge_row/user"
    ]


def test_items_and_users_are_joined_with_their_knowledge() -> None:
    model = build_model(small_scenario(), model_tables())
    assert model.adapter is not None
    raw = raw_features(3) | {
        "item_id": tf.constant(["20", "60", "unseen"]),
        "user_id": tf.constant(["bob", "cem", "stranger"]),
    }
    prepared = model.inputs_preparation(raw)
    for source, name in (("item", "20"), ("user", "bob")):
        records = model_tables().knowledge[source]
        vectors = model.adapter.tables[source].vectors(prepared[f"knowledge_row/{source}"])
        own = records.vectors[list(records.entity_ids).index(name)]
        np.testing.assert_allclose(vectors[0], own, rtol=2e-3)
        np.testing.assert_array_equal(vectors[1:], np.zeros([2, 8]))


@pytest.mark.parametrize("adapter", ["none", "hein"])
def test_match_compares_the_vectors_of_the_items(adapter: str) -> None:
    tables = model_tables()
    model = build_model(small_scenario(adapter=adapter, match="means"), tables)
    vectors = tables.knowledge["item"].vectors.astype(np.float16).astype(np.float32)
    reduced = MatchTables.from_vectors(MatchMethod("means"), vectors, 4).table
    # A history of one liked item: the third feature is the candidate's cosine with it.
    raw = raw_features(1) | {
        "item_id": tf.constant(["50"]),
        "history_item_id": tf.constant([["30"]]),
        "history_rating": tf.constant([[5.0]]),
    }
    match = model.inputs_preparation(raw)["match"][0]
    np.testing.assert_allclose(match[2], reduced[5] @ reduced[3], atol=1e-5)


def test_collective_answers_are_stored_once() -> None:
    individual = knowledge_records(ITEM_IDS[:2], 8, seed=0)
    group = np.full([3, 8], 0.5, np.float32)
    records = Records(
        [*individual.entity_ids, *ITEM_IDS[2:5]],
        np.concatenate([individual.vectors, group]),
        ["individual"] * 2 + ["collective"] * 3,
        ["", "", "g", "g", "g"],
    )
    tables = model_tables()
    tables = replace(tables, knowledge={**tables.knowledge, "item": records})
    model = build_model(small_scenario(match="means"), tables)
    assert model.adapter is not None
    assert model.adapter.tables["item"].num_rows == 4
    prepared = model.inputs_preparation(raw_features(4) | {"item_id": tf.constant(ITEM_IDS[2:])})
    np.testing.assert_array_equal(prepared["knowledge_row/item"], [3, 3, 3, 0])


def test_an_unknown_backbone_names_the_known_ones() -> None:
    message = "'dinn' is unknown; there are .*, din, .*, prm, .*two_tower.*mean 'din'"
    with pytest.raises(ValueError, match=message):
        example_kind("dinn")


def test_augmented_vectors_must_be_as_wide_as_embeddings() -> None:
    scenario = small_scenario(embedding_dimension=6)
    with pytest.raises(
        ValueError, match=r"expert_units \(4\) must equal .*embedding_dimension \(6\)"
    ):
        build_model(scenario, model_tables())
    without = small_scenario(embedding_dimension=6, adapter="none")
    assert build_model(without, model_tables()).adapter is None


def test_sources_of_different_width_are_named() -> None:
    tables = model_tables()
    narrow = {**tables.knowledge, "user": knowledge_records(USER_IDS, dimension=3, seed=2)}
    with pytest.raises(ValueError, match="item: 8, user: 3; encode them with one encoder"):
        build_model(small_scenario(), ModelTables(tables.catalogue, narrow))


MODELS: dict[str, type[tf.keras.layers.Layer]] = {**BACKBONES, **RERANKERS, **RETRIEVERS}
# Values of the right kind that make no sense: at least one of every option that could have one.
SENSELESS: list[tuple[str, dict[str, Any]]] = [
    ("autoint", {"num_layers": -1}),
    ("autoint", {"num_heads": 0}),
    ("autoint", {"head_units": 0}),
    ("bst", {"units": 0}),
    ("bst", {"num_blocks": 0}),
    ("bst", {"num_heads": 5}),
    ("bst", {"feed_forward_units": 0}),
    ("bst", {"num_positions": -3}),
    ("bst", {"outputs": "last"}),
    ("dcn", {"num_crosses": -1}),
    ("dcnv2", {"num_crosses": -1}),
    ("dien", {"evolution": "foo"}),
    ("dien", {"auxiliary_weight": -1.0}),
    ("din", {"dice_statistics": "layer"}),
    ("dlrm", {"bottom_units": (0,)}),
    ("fibinet", {"bilinear_kind": "all"}),
    ("fibinet", {"excitation_factor": -2.0}),
    ("fibinet", {"excitation_activation": "foo"}),
    ("fignn", {"num_steps": -1}),
    ("fignn", {"attention_heads": -1}),
    ("finalmlp", {"second_top_units": (4, 0)}),
    ("finalmlp", {"second_top_units": ()}),
    ("finalmlp", {"gating": "user"}),
    ("finalmlp", {"gate_units": (-1,)}),
    ("finalmlp", {"num_heads": 7}),
    ("finalmlp", {"num_heads": 2, "second_top_units": (4, 3)}),
    ("masknet", {"arrangement": "both"}),
    ("masknet", {"num_blocks": 0}),
    ("masknet", {"block_units": 0}),
    ("masknet", {"reduction_ratio": 0.0}),
    ("pnn", {"product": "cross"}),
    ("xdeepfm", {"interaction_units": (0,)}),
    ("xdeepfm", {"interaction_units": ()}),
    ("dlcm", {"units": 0}),
    ("dlcm", {"context_units": 0}),
    ("mir", {"units": 0}),
    ("mir", {"num_heads": 0}),
    ("mir", {"num_heads": 5}),
    ("prm", {"units": 0}),
    ("prm", {"num_blocks": 0}),
    ("prm", {"num_heads": 0}),
    ("prm", {"num_heads": 5}),
    ("prm", {"feed_forward_units": 0}),
    ("prm", {"num_positions": -3}),
    ("setrank", {"attention": "sparse"}),
    ("setrank", {"units": 0}),
    ("setrank", {"num_blocks": 0}),
    ("setrank", {"num_heads": 0}),
    ("setrank", {"num_heads": 5, "attention": "full"}),
    ("setrank", {"feed_forward_units": 0}),
    ("setrank", {"num_points": 0}),
    ("two_tower", {"output_units": 0}),
    ("two_tower", {"temperature": 0.0}),
    ("two_tower", {"pooling": "last"}),
    ("two_tower", {"interest_units": 0}),
]


class OwnKinds(tf.keras.layers.Layer):
    """A backbone with options of kinds that no configuration can be checked for."""

    def __init__(
        self,
        table: Mapping[str, int],
        names: Sequence[Mapping[str, int]] = (),
        anything: object = None,
    ):
        super().__init__()


class TestBackboneOptions:
    @pytest.mark.parametrize("name", MODELS)
    def test_every_option_has_a_default_that_its_model_takes(self, name: str) -> None:
        options = own_options(MODELS[name])
        assert not {"top_units", "dropout_rate", "self", "kwargs"} & options.keys()
        checked = checked_options(name, MODELS[name], options)
        layer = MODELS[name](**checked)
        config = layer.get_config()
        assert {key: config[key] for key in options} == {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in options.items()
        }

    def test_values_of_a_configuration_become_arguments(self) -> None:
        checked = checked_options("xdeepfm", BACKBONES["xdeepfm"], {"interaction_units": [30, 20]})
        assert checked == {"interaction_units": (30, 20)}
        checked = checked_options("dien", BACKBONES["dien"], {"auxiliary_weight": 1})
        assert isinstance(checked["auxiliary_weight"], float)
        for value, expected in (([30, 20], (30, 20)), (None, None)):
            options = {"second_top_units": value}
            assert checked_options("finalmlp", BACKBONES["finalmlp"], options) == {
                "second_top_units": expected
            }

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("dcnv2", {"num_cross": 2}, "'dcnv2' has no 'num_cross'.*Did you mean 'num_crosses'"),
            ("deepfm", {"num_crosses": 2}, "'deepfm' has no 'num_crosses'; it has none"),
            ("dcnv2", {"top_units": [3]}, "has no 'top_units'"),
            (
                "dcnv2",
                {"num_crosses": "three"},
                "num_crosses must be a whole number. Received: 'thr",
            ),
            ("dcnv2", {"num_crosses": True}, "must be a whole number. Received: True"),
            ("dcnv2", {"num_crosses": 2.0}, "must be a whole number. Received: 2.0"),
            ("dcnv2", {"num_crosses": None}, "must be a whole number. Received: None"),
            ("bst", {"outputs": 3}, "outputs must be a word. Received: 3"),
            (
                "xdeepfm",
                {"interaction_units": 3},
                "units must be a list of whole numbers. Received: 3",
            ),
            (
                "xdeepfm",
                {"interaction_units": "ab"},
                "must be a list of whole numbers. Received: 'ab'",
            ),
            (
                "xdeepfm",
                {"interaction_units": ["a", "b"]},
                r"options.interaction_units must be a list of whole numbers. "
                r"Received: \['a', 'b'\]",
            ),
            ("dlrm", {"bottom_units": [8, 2.5]}, r"a list of whole numbers. Received: \[8, 2.5\]"),
            (
                "finalmlp",
                {"second_top_units": "foo"},
                "options.second_top_units must be a list of whole numbers or null. Received: 'foo'",
            ),
            (
                "finalmlp",
                {"second_top_units": [True]},
                r"whole numbers or null. Received: \[True\]",
            ),
            ("din", {"attention_softmax": "yes"}, "must be true or false. Received: 'yes'"),
            ("din", {"attention_softmax": 1}, "must be true or false. Received: 1"),
            ("dien", {"auxiliary_weight": "much"}, "must be a number. Received: 'much'"),
            ("dien", {"auxiliary_weight": True}, "must be a number. Received: True"),
        ],
    )
    def test_what_a_backbone_cannot_take_is_refused(
        self, name: str, options: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            checked_options(name, BACKBONES[name], options)

    def test_other_annotations_are_left_to_the_constructor(self) -> None:
        options = {"table": {"a": 1}, "names": [{"b": 2}], "anything": "x"}
        assert checked_options("own", OwnKinds, options) == options | {"names": ({"b": 2},)}
        with pytest.raises(ValueError, match="names must be a list. Received: 3"):
            checked_options("own", OwnKinds, {"names": 3})

    @pytest.mark.parametrize(("name", "options"), SENSELESS, ids=str)
    def test_senseless_values_are_refused_by_the_constructor(
        self, name: str, options: dict[str, Any]
    ) -> None:
        checked_options(name, MODELS[name], options)
        option, value = next(iter(options.items()))
        message = rf"^\w+ must .*Received: .*\b{option}="
        with pytest.raises(ValueError, match=message) as caught:
            MODELS[name](**options)
        reason = str(caught.value)
        assert f"{option}={value!r}" in reason or "second_width=3" in reason

    @pytest.mark.parametrize("name", MODELS)
    @pytest.mark.parametrize(
        "options", [{"top_units": (0,)}, {"top_units": ("a",)}, {"dropout_rate": 1.0}], ids=str
    )
    def test_the_top_network_of_every_model_is_checked(
        self, name: str, options: dict[str, Any]
    ) -> None:
        ((option, value),) = options.items()
        with pytest.raises(ValueError, match=f"^{option} must ") as caught:
            MODELS[name](**options)
        assert str(caught.value).endswith(f"Received: {option}={value!r}")

    def test_no_option_is_left_out(self) -> None:
        tried = {(name, option) for name, options in SENSELESS for option in options}
        every = {
            (name, option)
            for name, model in MODELS.items()
            for option, default in own_options(model).items()
            if not isinstance(default, bool)
        }
        assert tried == every


def test_options_without_effect_beside_others_are_those_that_backbones_have() -> None:
    declarations = [entry for _, entry in declared(Model, EntryTakesEffect)]
    assert len(declarations) > 3
    for entry in declarations:
        name = entry.condition.key.removeprefix(".")
        beside = {entry.name} if name == entry.condition.key else {entry.name, name}
        owners = [own for own in map(own_options, MODELS.values()) if beside <= own.keys()]
        assert owners
        for own in owners:
            default = own[entry.name]
            assert (list(default) if isinstance(default, tuple) else default) == entry.default
