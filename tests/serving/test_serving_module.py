from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pytest
import tensorflow as tf

import serving.serving_module as serving_module_file
from configs.command_line import CommandError
from models.building import AnyModel
from models.item_ids import StoredIds
from models.retrieving import RetrievalModel
from models.vector_tables import AugmentedTables
from preprocessing.records.contract import USER_FOLDS
from serving.proof.proving import Loader
from serving.proof.result import Ask, Ways, c_api_loader, python_loader, session_loader
from serving.proof.servers import server_loader
from serving.serving_module import (
    SERVING_MODULES,
    RankingModule,
    RerankingModule,
    RetrievalModule,
    ServingModule,
    StoredPrior,
    serving_module,
    user_sources,
    with_stored_knowledge,
)
from tests.models.builders import augmented_tables
from tests.runs import random_model, raw_requests, rich_run, written_run
from tests.scenarios import rich_scenario, tiny_scenario
from tests.serving.exports import (
    Arrays,
    Export,
    exported,
    exported_variant,
    list_rows,
    one_user_request,
    profile_rows,
    request_rows,
    serialized_examples,
    tensors,
    user_rows,
    variant_run,
)


@functools.cache
def module_without_knowledge() -> ServingModule:
    return serving_module(random_model(rich_scenario(model__adapter="none")))


def test_every_kind_of_model_has_a_module_that_holds_its_parts() -> None:
    for backbone, kind in (
        ("din", RankingModule),
        ("dlcm", RerankingModule),
        ("two_tower", RetrievalModule),
    ):
        model = rich_run(backbone).model
        module = serving_module(model)
        assert type(module) is kind is SERVING_MODULES[model.kind]
        asked = {*kind.warmed_signatures, *kind.row_signatures}
        assert "serving_default" in asked <= {*module.signatures()}
        assert {"profile_city", "profile_age"} <= {feature.name for feature in module.features}
        held = {variable.ref() for variable in module.variables}
        assert {weight.ref() for weight in model.scorer.trainable_weights} <= held
        stored = user_sources(model) if kind is RetrievalModule else model.adapter.sources
        names = {variable.name for variable in module.variables}
        assert {f"knowledge/{source}/augmented/values:0" for source in stored} <= names
        assert model not in module.submodules


def test_one_users_features_serve_all_candidates() -> None:
    module = module_without_knowledge()
    signature = module.signatures()["rank"]
    (_, inputs) = signature.structured_input_signature
    for name, specification in inputs.items():
        assert specification.shape[0] == (None if name == "item_id" else 1)
        assert specification.dtype in (tf.string, tf.float32)


EXPORTS = {
    "din": exported,
    "linear": functools.partial(exported_variant, "linear"),
    "prm": functools.partial(exported_variant, "prm"),
    "two_tower": functools.partial(exported_variant, "two_tower"),
}


def good_request(model: str, signature: str) -> Arrays:
    rows = {
        "din": request_rows,
        "linear": profile_rows,
        "prm": list_rows,
        "two_tower": user_rows,
    }[model]()
    if signature != "rank":
        return rows
    if model == "prm":
        one = {name: values[:1] for name, values in rows.items()}
        return {**one, "item_id": rows["item_id"][0]}
    return encoded(one_user_request(0, rows=rows)[0])


def encoded(raw: Arrays) -> Arrays:
    """Candidates as bytes, as which the loader of a server wants them."""
    return {**raw, "item_id": raw["item_id"].astype("S").astype(object)}


def with_one_more(raw: Arrays, name: str) -> Arrays:
    """A list with one value more in each row."""
    values = raw[name]
    return {**raw, name: np.concatenate([values, values[:, :1]], axis=1)}


def with_first(raw: Arrays, name: str, value: float) -> Arrays:
    """The first number is this one; in a history it is a rating and not padding."""
    values = raw[name].copy()
    values.flat[0] = value
    return {**raw, name: values}


LOADERS = (python_loader, session_loader, c_api_loader, server_loader)


def ways_of(export: Export, loaders: Sequence[Loader] = LOADERS) -> Iterator[Ask]:
    """The ways to load and ask an export, one after the other."""
    for loader in loaders:
        with loader(export.path) as ways:
            yield from ways.values()


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    """The ways to ask the export of a ranking model, but a session, in which all is a graph."""
    with (
        python_loader(exported().path) as python,
        c_api_loader(exported().path) as c_api,
        server_loader(exported().path) as served,
    ):
        yield {**python, **c_api, **served}


PAIRS = {
    "din": ("serving_default", "rank"),
    "linear": ("serving_default", "rank"),
    "prm": ("serving_default", "rank"),
    "two_tower": ("serving_default", "top_k", "user_vectors"),
}


def refused_requests(model: str, signature: str) -> list[tuple[Arrays, str]]:
    """Requests that do not hold together, and the input that is named."""
    good = good_request(model, signature)
    refused = [
        (with_one_more(good, "history_rating"), "history_rating"),
        (with_one_more(good, "history_item_id"), "history_rating"),
        (with_first(good, "history_rating", np.nan), "history_rating"),
        (with_first(good, "user_mean_rating", np.inf), "user_mean_rating"),
        (with_first(good, "user_share_liked", np.inf), "user_share_liked"),
        (with_first(good, "user_log_count", -np.inf), "user_log_count"),
        (with_first(good, "user_share_liked", 1.01), "user_share_liked must be between 0 and 1"),
        (with_first(good, "user_log_count", -0.5), "user_log_count must be between 0 and 30"),
        (with_first(good, "history_rating", 1e10), r"rating must be between -1e\+06 and 1e\+06"),
        (with_first(good, "user_mean_rating", -1e20), "user_mean_rating must be between"),
        (with_first(good, "user_log_count", 250.0), r"between 0 and 30. Received:\] \[250\]"),
    ]
    if "profile_age" in good:
        refused.append((with_first(good, "profile_age", np.inf), "profile_age"))
    if signature != "rank":
        fewer = {**good, "user_mean_rating": good["user_mean_rating"][:1]}
        refused.append((fewer, "user_mean_rating"))
    return refused


def assert_refused(ask: Ask, model: str) -> None:
    for signature in PAIRS[model]:
        ask(signature, good_request(model, signature))
        for wrong, name in refused_requests(model, signature):
            with pytest.raises(Exception, match=name):
                ask(signature, wrong)


def test_every_way_refuses_inputs_that_do_not_belong_together(ways: Ways) -> None:
    assert {*ways} == {"python", "c_api", "grpc", "rest"}
    for ask in itertools.chain(ways.values(), ways_of(exported(), [session_loader])):
        assert_refused(ask, "din")


# The checks are in the graph, which all loaders share.
@pytest.mark.parametrize(
    "loaders", [LOADERS[:1], pytest.param(LOADERS, marks=pytest.mark.slow)], ids=["python", "all"]
)
@pytest.mark.parametrize("model", [model for model in EXPORTS if model != "din"])
def test_every_signature_refuses_inputs_that_do_not_belong_together(
    model: str, loaders: Sequence[Loader]
) -> None:
    for ask in ways_of(EXPORTS[model](), loaders):
        assert_refused(ask, model)


def test_a_fixed_number_of_users_is_held_where_a_session_feeds_another(ways: Ways) -> None:
    good = good_request("din", "rank")
    twice = np.concatenate([good["user_log_count"]] * 2)
    # Seven users for seven candidates would pass as aligned rows.
    rows = encoded(one_user_request(0, candidates=7)[1])
    for name in ("c_api", "grpc", "rest"):
        ask = ways[name]
        assert ask("rank", good)["score"].shape == (7,)
        with pytest.raises(Exception, match=r"user_log_count \[2\] is not compatible"):
            ask("rank", {**good, "user_log_count": twice})
        with pytest.raises(Exception, match="is not compatible with expected shape"):
            ask("rank", rows)


def test_examples_are_refused_as_well_beside_longer_ones(ways: Ways) -> None:
    rows = {name: values[:3] for name, values in request_rows().items()}
    good = serialized_examples(rows)
    fewer, no_rating, no_mean = (tf.train.Example.FromString(good[1]) for _ in range(3))
    del fewer.features.feature["history_rating"].float_list.value[-1]
    no_rating.features.feature["history_rating"].float_list.value[0] = np.nan
    no_mean.features.feature["user_mean_rating"].float_list.value[0] = np.inf
    refused = [
        (fewer, "history_rating and history_item_id of an example must have the same length"),
        (no_rating, "history_rating must be finite numbers"),
        (no_mean, "user_mean_rating must be finite numbers"),
    ]
    arguments = {"predict_examples": "examples", "classify": "inputs", "regress": "inputs"}
    for ask in itertools.chain(ways.values(), ways_of(exported(), [session_loader])):
        for signature, argument in arguments.items():
            ask(signature, {argument: good})
            for wrong, message in refused:
                batch = good.copy()
                batch[1] = wrong.SerializeToString()
                with pytest.raises(Exception, match=message):
                    ask(signature, {argument: batch})


def test_what_stands_beside_padding_does_not_count(ways: Ways) -> None:
    good = request_rows()
    padding = good["history_item_id"] == b""
    assert padding.any()
    ratings = np.where(padding, np.float32(np.nan), good["history_rating"])
    ask = ways["c_api"]
    expected = ask("serving_default", good)["score"]
    scores = ask("serving_default", {**good, "history_rating": ratings})["score"]
    np.testing.assert_array_equal(scores, expected)


def test_tasks_are_scored_beside_the_label() -> None:
    model = variant_run("linear").model
    raw = tensors(profile_rows())
    label = model.probabilities(raw).numpy()
    loved = model.task_probabilities(raw)["loved"].numpy()
    scores = serving_module(model).scores(raw)
    assert list(scores) == ["score", "score_loved"]
    assert label.std() > 0.005 and loved.std() > 0.005
    np.testing.assert_allclose(scores["score"], label, atol=1e-5)
    np.testing.assert_allclose(scores["score_loved"], loved, atol=1e-5)


def test_scores_of_one_users_features_are_those_of_repeated_ones() -> None:
    module = serving_module(variant_run("hein").model)
    for row in (0, 10):
        ranked, repeated = (tensors(raw) for raw in one_user_request(row, rows=profile_rows()))
        np.testing.assert_allclose(
            module.scores(ranked)["score"], module.scores(repeated)["score"], atol=1e-5
        )


def test_examples_may_lack_profiles() -> None:
    module = module_without_knowledge()
    rows = profile_rows()
    unknown = {
        **rows,
        "profile_city": np.full([12, 1], b"", dtype=object),
        "profile_age": np.full([12, 1], np.nan, np.float32),
    }
    without = {name: values for name, values in rows.items() if not name.startswith("profile_")}
    expected = module.scores(tensors(unknown))["score"].numpy()
    assert expected.std() > 0.01
    assert np.abs(module.scores(tensors(rows))["score"].numpy() - expected).max() > 1e-3
    signature = module.signatures()["predict_examples"]
    examples = tensors({"examples": serialized_examples(without)})["examples"]
    np.testing.assert_allclose(signature(examples=examples)["score"], expected, atol=1e-5)


def test_a_list_alone_scores_as_among_others() -> None:
    model = variant_run("prm").model
    raw = list_rows()
    expected = model.probabilities(tensors(raw)).numpy()
    assert expected.std() > 0.01
    module = serving_module(model)
    np.testing.assert_allclose(module.scores(tensors(raw))["score"], expected, atol=1e-5)
    for row in range(len(expected)):
        one = {name: values[row : row + 1] for name, values in raw.items()}
        scores = module.list_scores(tensors({**one, "item_id": raw["item_id"][row]}))["score"]
        np.testing.assert_allclose(scores, expected[row], atol=1e-5)
        assert not scores.numpy()[raw["item_id"][row] == b""].any()


def model_and_module(**options: object) -> tuple[RetrievalModel, RetrievalModule]:
    model = random_model(rich_scenario(model__backbone="two_tower", **options))
    module = serving_module(model)
    assert isinstance(module, RetrievalModule)
    return model, module


@pytest.fixture(scope="module")
def parts() -> tuple[RetrievalModel, RetrievalModule]:
    return model_and_module()


def test_the_search_is_the_head_of_a_full_sort(
    parts: tuple[RetrievalModel, RetrievalModule],
) -> None:
    model, module = parts
    items = model.inputs_preparation.catalogue.item_ids
    raw = tensors(user_rows())
    scores = model.user_vectors(raw).numpy() @ model.all_item_vectors()[1:].T
    actual = module.top_k(raw)
    for user, history in enumerate(raw["history_item_id"].numpy().astype(str)):
        new = [place for place, item_id in enumerate(items) if item_id not in history]
        best = sorted(new, key=lambda place: -scores[user, place])
        count = len(best)
        ids = [item_id.decode() for item_id in actual["item_id"][user].numpy()]
        assert ids[:count] == [items[place] for place in best]
        assert set(ids[count:]) <= {""}
        np.testing.assert_allclose(actual["score"][user, :count], scores[user, best], atol=1e-5)
    assert scores.std() > 0.01


@pytest.mark.parametrize("users", [0, 1, 5, 12])
def test_users_are_searched_for_some_at_a_time(
    users: int, parts: tuple[RetrievalModel, RetrievalModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, module = parts
    raw = {name: tf.constant(values[:users]) for name, values in user_rows().items()}
    whole = module.top_k(raw)
    monkeypatch.setattr(serving_module_file, "_SCORES_AT_ONCE", 5 * (model.num_items + 1))
    in_parts = tf.function(module.top_k, autograph=False)(raw)
    assert whole["item_id"].shape == (users, min(100, model.num_items))
    np.testing.assert_array_equal(in_parts["item_id"], whole["item_id"])
    np.testing.assert_allclose(in_parts["score"], whole["score"], atol=1e-6)


def test_history_is_left_out_and_what_is_missing_is_empty(
    parts: tuple[RetrievalModel, RetrievalModule],
) -> None:
    model, module = parts
    items = model.inputs_preparation.catalogue.item_ids
    raw = {name: values[:1] for name, values in user_rows().items()}
    raw["history_item_id"] = np.array([["never seen", *items[:-2], ""]], dtype=object)
    raw["history_rating"] = np.ones([1, len(items)], np.float32)
    actual = module.top_k(tensors(raw))
    ids, scores = actual["item_id"].numpy()[0], actual["score"].numpy()[0]
    assert sorted(ids[:2]) == sorted(item.encode() for item in items[-2:])
    assert scores[0] >= scores[1] and np.isfinite(scores).all()
    assert set(ids[2:]) == {b""} and not scores[2:].any()


def test_vectors_multiply_to_the_scores(parts: tuple[RetrievalModel, RetrievalModule]) -> None:
    _, module = parts
    raw = tensors(user_rows())
    actual = module.top_k(raw)
    users = module.user_vectors(raw)["vector"].numpy()
    best = module.item_vectors({"item_id": actual["item_id"][:, 0]})["vector"].numpy()
    np.testing.assert_allclose((users * best).sum(axis=1), actual["score"][:, 0], atol=1e-5)
    items = {"item_id": tf.constant(["never seen", "nor this", "1"])}
    unknown = module.item_vectors(items)["vector"].numpy()
    np.testing.assert_array_equal(unknown[0], unknown[1])
    assert np.abs(unknown[2] - unknown[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        ({}, ["user"]),
        ({"model__history_knowledge": True}, ["user", "item"]),
        ({"knowledge__sources": ["item"]}, []),
        ({"model__adapter": "none"}, []),
    ],
)
def test_only_what_users_need_is_kept(options: dict[str, object], sources: list[str]) -> None:
    model, module = model_and_module(**options)
    assert user_sources(model) == sources
    assert module.top_k(tensors(user_rows()))["score"].shape[0] == 12
    kept = [variable.name for variable in module.variables if "augmented" in variable.name]
    assert sorted(kept) == sorted(f"knowledge/{source}/augmented/values:0" for source in sources)


def scores(model: AnyModel) -> np.ndarray:
    return model.probabilities(tensors(profile_rows())).numpy()


def attributes(model: AnyModel) -> dict[tuple[int, str], list[int]]:
    """Which objects the model and every layer and module inside hold, by owner and attribute.

    A Keras network within is left out, because it infers its graph anew whenever it is called.
    """
    networks = [part for part in model.submodules if isinstance(part, tf.keras.Model)]
    left_out = {id(part) for network in networks for part in (network, *network.submodules)}
    return {
        (id(part), name): [id(value), *map(id, _entries(value))]
        for part in (model, *model.submodules)
        if id(part) not in left_out
        for name, value in vars(part).items()
    }


def _entries(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


@pytest.mark.parametrize("name", ["moe", "hein", "replace_id", "prm", "two_tower"])
def test_the_trained_model_is_the_same_after_an_export(name: str) -> None:
    model = variant_run(name).model
    before, weights = attributes(model), [weight.numpy() for weight in model.variables]
    module = serving_module(model)
    module.signatures()
    after = attributes(model)
    changed = {key[1] for key in {*before, *after} if before.get(key) != after.get(key)}
    assert len(before) > 1000 and changed == set()
    for weight, value in zip(model.variables, weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    served, trained = (
        {each.ref() for each in variables}
        for variables in (module.variables, model.scorer.trainable_weights)
    )
    # Knowledge in place of ids is all that is trained in the scorer and not served as it is.
    assert served >= trained or name == "replace_id" and served & trained


@pytest.mark.parametrize("name", ["mlp", "hein", "replace_id"])
def test_a_model_scores_as_before(name: str) -> None:
    model = variant_run(name).model
    expected = scores(model)
    assert expected.std() > 0.01
    np.testing.assert_allclose(scores(with_stored_knowledge(model)), expected, atol=1e-6)
    np.testing.assert_array_equal(scores(model), expected)


def test_neither_adapter_nor_knowledge_nor_folds_are_left() -> None:
    model = variant_run("hein").model
    trained = model.inputs_preparation
    tables = augmented_tables(model.adapter)
    numbers = trained.priors[0](tf.range(trained.catalogue.num_items + 1)).numpy()
    # The index of user ids is the only part of a knowledge table that requests read.
    vectors = [weight for weight in model.adapter.weights if weight.dtype == tf.float16]
    assert len(vectors) == len(tables) == 3
    replaced = [
        *vectors,
        *model.adapter.trainable_weights,
        *trained.priors[0].weights,
        *trained.matches.weights,
    ]
    assert trained.matches.has_folds and trained.catalogue.num_folds == USER_FOLDS
    stored = with_stored_knowledge(model)
    assert isinstance(stored.adapter, AugmentedTables)
    variables = {variable.name: variable for variable in stored.adapter.variables}
    assert variables.keys() == {f"knowledge/{source}/augmented/values:0" for source in tables}
    for source, table in tables.items():
        np.testing.assert_array_equal(variables[f"knowledge/{source}/augmented/values:0"], table)
    preparation = stored.inputs_preparation
    (prior,) = preparation.priors
    assert isinstance(prior, StoredPrior)
    np.testing.assert_array_equal(prior.variables[0], numbers)
    assert not preparation.matches.has_folds and preparation.catalogue.num_folds == 0
    parts = [preparation, *stored.checkpoint_parts().values()]
    left = {variable.ref() for part in parts for variable in part.variables}
    assert not left & {weight.ref() for weight in replaced}
    assert {weight.ref() for weight in model.scorer.trainable_weights} <= left


def test_knowledge_in_place_of_ids_is_stored() -> None:
    model = variant_run("replace_id").model
    ids = model.scorer.assembly.items.ids
    replaced = {weight.ref() for weight in ids.weights}
    assert len(replaced) > 4
    stored = with_stored_knowledge(model)
    stored_ids = stored.scorer.assembly.items.ids
    assert isinstance(stored_ids, StoredIds)
    np.testing.assert_array_equal(stored_ids.table(), ids.table())
    assert not {weight.ref() for weight in stored.scorer.weights} & replaced


def test_a_learned_match_stays_as_it_was_trained() -> None:
    model = variant_run("moe").model
    trained = [weight.numpy() for weight in model.learned_match.trainable_weights]
    assert len(trained) == 6
    stored = with_stored_knowledge(model)
    assert stored.learned_match is stored.inputs_preparation.matches
    assert model.learned_match.has_folds and not stored.learned_match.has_folds
    for weight, value in zip(stored.learned_match.trainable_weights, trained, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_items_that_join_are_found_too() -> None:
    _, module = model_and_module()
    raw = tensors(user_rows())
    before = module.top_k(raw)["item_id"]
    added = [f"new {number}" for number in range(200)]
    vectors = module._vectors.numpy()
    module._vectors.assign(np.concatenate([vectors, 9 * np.ones([200, vectors.shape[1]])]))
    module._item_ids.assign(np.concatenate([module._item_ids.numpy(), added]))
    assert before.shape[1] < 100
    assert module.top_k(raw)["item_id"].shape == (before.shape[0], 100)


def test_a_number_format_that_nothing_is_stored_in_is_refused() -> None:
    model = random_model(
        tiny_scenario(model__backbone="two_tower", knowledge__sources=["item"], model__match="none")
    )
    with pytest.raises(CommandError, match="augmented_dtype: the model stores nothing as int8"):
        serving_module(model, "int8")
    assert isinstance(serving_module(model), RetrievalModule)


def test_only_the_named_sources_are_stored() -> None:
    model = rich_run("two_tower").model
    assert with_stored_knowledge(model, sources=["user"]).adapter.sources == ("user",)


@pytest.mark.parametrize("adapter", ["hein", "replace_id"])
def test_vectors_may_be_stored_in_float16(adapter: str) -> None:
    model = random_model(tiny_scenario(model__adapter=adapter, knowledge__sources=["item"]))
    raw = raw_requests(tiny_scenario())
    rounded = with_stored_knowledge(model, "float16").probabilities(raw).numpy()
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - model.probabilities(raw).numpy()).max() < 1e-3


def test_a_model_without_knowledge_stays_as_it_is() -> None:
    model = written_run("din", "none").model
    raw = raw_requests(tiny_scenario())
    stored = with_stored_knowledge(model)
    assert stored.adapter is None
    np.testing.assert_allclose(
        stored.probabilities(raw).numpy(), model.probabilities(raw).numpy(), atol=1e-6
    )
