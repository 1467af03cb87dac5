"""What single sections of a configuration take, refuse and have by default."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from configs.data import (
    Attribute,
    CatalogueTable,
    Data,
    InteractionFilter,
    Profiles,
    RerankLists,
    Split,
    Table,
)
from configs.experiment import Evaluation, Experiment, SearchRange, Tuning
from configs.knowledge import Encoder, Grouping, Knowledge, SourceAnswers
from configs.model import (
    ADAPTERS,
    HybridExpert,
    Match,
    MixtureOfExpertsSettings,
    Model,
    Prior,
    ProductQuantization,
    SharedNetwork,
)
from configs.prompting import Generation, Prompts
from configs.section import Section
from configs.training import Training
from tests.configs.refusals import assert_refused


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (HybridExpert, {"num_dedicated_experts": -1}),
        (HybridExpert, {"dropout_rate": 1.0}),
        (MixtureOfExpertsSettings, {"num_experts": 0}),
        (MixtureOfExpertsSettings, {"dropout_rate": -0.1}),
        (SharedNetwork, {"units": ["wide"]}),
        (SharedNetwork, {"dropout_rate": 1.0}),
        (ProductQuantization, {"num_codebooks": 0}),
        (ProductQuantization, {"codebook_size": 1}),
        (ProductQuantization, {"codebook_size": 65537}),
        (Match, {"sources": []}),
        (Match, {"sources": ""}),
        (Match, {"sources": ["item", "plot", "item"]}),
        (Match, {"sources": "item, item"}),
        (Match, {"history_length": 0}),
        (Match, {"dimension": 1}),
        (Match, {"form": "fast"}),
        (Match, {"length_scale": 0.0}),
        (Match, {"bias": 0.0}),
        (Match, {"noise": -1.0}),
        (Match, {"dropout_rate": 1.0}),
        (Prior, {"sources": []}),
        (Prior, {"sources": ["item", "item"]}),
        (Prior, {"dimension": 1}),
        (Prior, {"length_scale": 0.0}),
        (Prior, {"folds": 1}),
        (Model, {"dropout_rate": 1.0}),
        (Model, {"dropout_rate": -0.1}),
        (Model, {"knowledge_dropout_rate": 1.0}),
        (Model, {"adapter": "attention"}),
        (Model, {"match": "cosine"}),
        (Model, {"attention_history_length": 0}),
        (HybridExpert, {"num_shared_experts": -1}),
        (Split, {"by": "item"}),
        (Split, {"fractions": (0.8, 0.2)}),
        (Split, {"fractions": (0.8, 0.1, 0.2)}),
        (Split, {"fractions": (0.9, 0.1, 0.0)}),
        (Split, {"fractions": (1.2, -0.1, -0.1)}),
        (Split, {"knowledge_history_cap": -1}),
        (Experiment, {"seeds": ["first"]}),
        (Experiment, {"seeds": []}),
        (Experiment, {"seeds": [1, 1]}),
        (Experiment, {"backbones": []}),
        (Experiment, {"backbones": ["din", "din"]}),
        (Experiment, {"adapters": ["hain"]}),
        (Experiment, {"adapters": ["hein", "hein"]}),
        (Experiment, {"matches": ["mean"]}),
        (Experiment, {"extractions": {"none_at_all": []}}),
        (Experiment, {"extractions": {"twice": ["item", "item"]}}),
        (Experiment, {"extractions": {"a/b": ["item"]}}),
        (Experiment, {"arms": {"../outside": {}}}),
        (Experiment, {"processes": 0}),
        (Experiment, {"tuning": {"trials": -1}}),
        (Evaluation, {"bootstrap_resamples": 1}),
        (Evaluation, {"bootstrap_seed": -1}),
        (Experiment, {"seeds": [1, -1]}),
        (Evaluation, {"user_activity_bounds": []}),
        (Evaluation, {"user_activity_bounds": [5, 1]}),
        (Evaluation, {"item_popularity_bounds": [0, 1]}),
        (Evaluation, {"item_popularity_bounds": [2, 2]}),
        (Evaluation, {"cold_user_below": 0}),
        (Evaluation, {"number_groups": 1}),
        (Evaluation, {"largest_groups": 0}),
        (Evaluation, {"sparse_below": 0}),
        (Evaluation, {"calibration_bins": 0}),
        (Evaluation, {"memory_megabytes": 255}),
        (Evaluation, {"threads": 0}),
        (Tuning, {"seed": -1}),
        (Training, {"epochs": 0}),
        (Training, {"epochs": "many"}),
        (Training, {"batch_size": 0}),
        (Training, {"optimizer": "ftrl"}),
        (Training, {"optimizer": "same"}),
        (Training, {"learning_rate": 0.0}),
        (Training, {"learning_rate": float("inf")}),
        (Training, {"embedding_optimizer": "lazy"}),
        (Training, {"embedding_learning_rate": -1.0}),
        (Training, {"embedding_learning_rate": float("nan")}),
        (Training, {"schedule": "linear"}),
        (Training, {"warmup_steps": -1}),
        (Training, {"weight_decay": -0.1}),
        (Training, {"weight_decay": float("inf")}),
        (Training, {"embedding_regularization": float("inf")}),
        (Training, {"gradient_clip_norm": 0.0}),
        (Training, {"gradient_clip_norm": float("nan")}),
        (Training, {"class_weights": (1.0,)}),
        (Training, {"class_weights": (1.0, 0.0)}),
        (Training, {"class_weights": (float("inf"), 1.0)}),
        (Training, {"list_loss": "pairwise"}),
        (Training, {"selection": "logloss"}),
        (Training, {"patience": 0}),
        (Training, {"precision": "float16"}),
        (Training, {"steps_per_execution": 0}),
        (Training, {"input": "files"}),
        (Training, {"shuffle_buffer": 0}),
        (Training, {"checkpoint_steps": -1}),
        (Training, {"distribution": "tpu"}),
        (Training, {"devices": 0}),
        (Training, {"sharding": "rows"}),
        (Training, {"seed": -1}),
        (Training, {"seed": 2**32}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    assert_refused(section, values)


def test_every_adapter_may_be_named() -> None:
    names = ("none", *ADAPTERS, "replace_id")
    assert len(names) == 8
    assert [Model.model_validate({"adapter": name}).adapter for name in names] == list(names)
    assert_refused(Model, {"adapter": "heim"})


@pytest.mark.parametrize("section", [Match, Prior])
def test_match_and_prior_take_sources_as_one_text(section: type[Match] | type[Prior]) -> None:
    assert section().sources == ("item",)
    described = section.model_validate({"sources": "item, title_genres"})
    assert described.sources == ("item", "title_genres")


@pytest.mark.parametrize("weight", [0, -1.0, float("inf"), float("nan"), "much"])
def test_weights_of_tasks_are_positive_numbers(weight: object) -> None:
    with pytest.raises(ValidationError) as raised:
        Model.model_validate({"tasks": {"loved": weight, "bought": 0.5}})
    assert {problem["loc"] for problem in raised.value.errors()} == {("tasks", "loved")}
    assert Model.model_validate({"tasks": {"bought": 0.5}}).tasks == {"bought": 0.5}


def test_fractions_may_miss_one_by_rounding() -> None:
    assert Split(fractions=(1 / 3, 1 / 3, 1 / 3)).fractions == (1 / 3, 1 / 3, 1 / 3)


def test_a_table_is_one_path_or_several() -> None:
    assert Table(path="a.csv").paths == ("a.csv",)
    assert Table(path=("a.csv", "b-*.csv")).paths == ("a.csv", "b-*.csv")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"path": ""}, "names no file"),
        ({"path": []}, "names no file"),
        ({"path": "a", "header": False}, "needs 'column_names'"),
        ({"path": "a", "column_names": ["user"]}, "needs 'header: false'"),
        ({"path": "a", "header": False, "column_names": ["x", "x"]}, "a column twice"),
    ],
)
def test_tables_need_files_and_column_names(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        CatalogueTable.model_validate(table)


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        ({"kind": "numeric", "separator": "|"}, "for categorical attributes"),
        ({"kind": "numeric", "values": {"1": "one"}}, "for categorical attributes"),
        ({"kind": "categorical", "flags": ["a"], "column": "b"}, "in place of 'column'"),
        ({"kind": "categorical", "separator": ""}, "quotes of its own in an override"),
        ({"kind": "numeric", "pattern": "(year"}, "not a regular expression"),
        ({"kind": "numeric", "pattern": "year"}, "exactly one group"),
        ({"kind": "numeric", "pattern": "(a)(b)"}, "exactly one group"),
    ],
)
def test_options_must_fit_the_attribute(attribute: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Attribute.model_validate(attribute)


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("id", {"column": "member"}),
        ("member", {}),
        ("group", {"flags": ["gold", "member"]}),
    ],
)
def test_the_user_id_is_no_attribute(name: str, attribute: dict[str, Any]) -> None:
    attributes = {name: {"kind": "categorical", **attribute}}
    problem = f"attributes.{name}: column 'member' holds the user's id"
    with pytest.raises(ValidationError, match=problem):
        Profiles.model_validate({"path": "a.csv", "user": "member", "attributes": attributes})


def test_the_documented_pattern_finds_the_year() -> None:
    description = Attribute.model_fields["pattern"].description or ""
    (pattern,) = re.findall(r"'(.*)' for the year", description)
    match = re.search(pattern, "Toy Story (1995)")
    assert match and match[1] == "1995"


def test_a_filter_without_minimum_keeps_everything() -> None:
    assert InteractionFilter().keeps_everything
    assert not InteractionFilter(minimum_item_interactions=2).keeps_everything


def test_a_rerank_window_must_fit_its_list() -> None:
    assert (RerankLists().window, RerankLists().length) == (4, 10)
    with pytest.raises(ValidationError, match="larger than"):
        RerankLists(window=5, length=4)


def data(columns: dict[str, str | None]) -> Data:
    interactions = {"path": "log.csv", "columns": columns}
    return Data.model_validate({"interactions": interactions, "catalogue": {"path": "items.csv"}})


@pytest.mark.parametrize(
    ("columns", "liked_from", "implicit"),
    [
        ({}, 4.0, False),
        ({"label": "click"}, 4.0, False),
        ({"label": "click", "rating": None}, 1.0, False),
        ({"rating": None}, 1.0, True),
    ],
)
def test_without_ratings_the_label_says_what_is_liked(
    columns: dict[str, str | None], liked_from: float, implicit: bool
) -> None:
    described = data(columns)
    assert (described.liked_from, described.is_implicit) == (liked_from, implicit)


def test_some_kind_of_example_is_made() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Data.model_validate({**data({}).model_dump(), "examples": []})


def with_labels(labels: dict[str, Any], columns: dict[str, str | None] | None = None) -> Data:
    return Data.model_validate({**data(columns or {}).model_dump(), "labels": labels})


@pytest.mark.parametrize(
    ("labels", "columns", "problem"),
    [
        ({"seen": {}}, {}, "either 'column' or 'minimum_rating'"),
        ({"seen": {"column": "c", "minimum_rating": 3}}, {}, "either 'column' or"),
        ({"label": {"column": "c"}}, {}, "the first label's own name"),
        ({"to the end": {"column": "c"}}, {}, "becomes the feature label_to the end; use letters"),
        ({"loved": {"minimum_rating": 5}}, {"rating": None}, "needs data.interactions.columns"),
        ({f"l{n}": {"column": "c"} for n in range(64)}, {}, "at most 63 items"),
    ],
)
def test_extra_labels_need_one_origin_and_a_plain_name(
    labels: dict[str, Any], columns: dict[str, str | None], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        with_labels(labels, columns)


def test_extra_labels_keep_their_order() -> None:
    labels = {"loved": {"minimum_rating": 5}, "a_click": {"column": "clicked"}}
    described = with_labels(labels, {"rating": "stars"})
    assert list(described.labels) == ["loved", "a_click"]
    assert described.labels["loved"].minimum_rating == 5.0
    assert with_labels({"seen": {"column": "c"}}, {"rating": None}).labels["seen"].column == "c"


def test_names_may_be_joined_by_commas() -> None:
    experiment = Experiment.model_validate({"backbones": "din, dcnv2", "adapters": "none,hein"})
    assert experiment.backbones == ("din", "dcnv2")
    assert experiment.adapters == ("none", "hein")


@pytest.mark.parametrize(
    "values",
    [
        {"low": 0, "high": 0.5},
        {"low": "1e-4", "high": "1e-2", "log": True},
        {"low": 16, "high": 64, "step": 16},
        {"choices": [256, 512]},
        {"choices": [[200, 80], [64], None, True, "adam"]},
    ],
)
def test_a_range_comes_back_from_what_is_saved_of_it(values: dict[str, object]) -> None:
    searched = SearchRange.model_validate(values)
    assert SearchRange.model_validate(searched.model_dump(mode="json")) == searched


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "name both 'low' and 'high', or 'choices'"),
        ({"low": 1}, "name both 'low' and 'high', or 'choices'"),
        ({"low": 2, "high": 2}, "'low' must be less than 'high'"),
        ({"low": 0, "high": 1, "log": True}, "'log' needs a 'low' above 0"),
        ({"low": 1, "high": 2, "log": True, "step": 0.1}, "'log' and 'step' exclude each other"),
        ({"choices": [1], "low": 0}, "'choices' stand in place of"),
        ({"choices": [1], "log": True}, "'choices' stand in place of"),
        ({"choices": [1, 2, 1]}, "'choices' name a value twice"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SearchRange.model_validate(values)


@pytest.mark.parametrize(
    "values", [{"choices": []}, {"low": 0, "high": float("inf")}, {"low": 0, "high": 1, "step": 0}]
)
def test_empty_and_endless_ranges_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SearchRange.model_validate(values)


def test_defaults_are_plain_adam_in_float32_on_one_device() -> None:
    training = Training()
    assert (training.optimizer, training.embedding_optimizer) == ("adam", "same")
    assert (training.schedule, training.warmup_steps) == ("constant", 0)
    assert (training.weight_decay, training.gradient_clip_norm) == (0.0, None)
    assert training.class_weights == (1.0, 1.0)
    assert (training.precision, training.xla, training.distribution) == ("float32", False, "none")


def test_lazy_adam_is_for_embedding_tables() -> None:
    assert Training.model_validate({"embedding_optimizer": "lazy_adam"}).optimizer == "adam"
    with pytest.raises(ValidationError, match="set training.embedding_optimizer=lazy_adam"):
        Training.model_validate({"optimizer": "lazy_adam"})


@pytest.mark.parametrize("distribution", ["mirrored", "multi_worker", "parameter_server"])
def test_xla_is_for_one_device(distribution: str) -> None:
    with pytest.raises(ValidationError, match=f"set training.xla=false, .*of {distribution}"):
        Training.model_validate({"xla": True, "distribution": distribution})
    assert Training.model_validate({"xla": True}).xla


def test_parameter_servers_do_not_scale_losses() -> None:
    values = {"precision": "mixed_float16", "distribution": "parameter_server"}
    with pytest.raises(ValidationError, match="set training.precision=mixed_bfloat16"):
        Training.model_validate(values)
    for other in ({"precision": "mixed_bfloat16"}, {"distribution": "mirrored"}):
        assert Training.model_validate(values | other)


def test_parameter_servers_hand_out_single_steps() -> None:
    with pytest.raises(ValidationError, match=r"training\.steps_per_execution: .* set it to 1"):
        Training.model_validate({"distribution": "parameter_server", "steps_per_execution": 2})


def test_a_budget_in_dollars_needs_prices() -> None:
    with pytest.raises(ValidationError, match="needs price_input and price_output"):
        Generation(budget_usd=1.0)
    assert Generation(budget_usd=1.0, price_input=0.5, price_output=1.5).budget_usd == 1.0


def test_titles_are_delimited_and_ids_hidden_unless_told_otherwise() -> None:
    prompts = Prompts()
    assert prompts.delimit_titles and prompts.pseudonymous_custom_ids


@pytest.mark.parametrize("client", ["openai", "batch-file", "replay", "gguf"])
def test_clients_by_name(client: str) -> None:
    assert Generation.model_validate({"client": client}).client == client
    with pytest.raises(ValidationError):
        Generation.model_validate({"client": f"{client}-2"})


ITEM_ANSWERS: dict[str, Any] = {"entity": "item", "individual": ["items.jsonl"]}
USER_ANSWERS: dict[str, Any] = {"entity": "user", "individual": ["users.jsonl"]}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("item", ("item",)),
        ("item, user", ("item", "user")),
        (["user"], ("user",)),
        ("", ()),
    ],
)
def test_sources_of_knowledge_may_be_one_text(written: object, read: tuple[str, ...]) -> None:
    knowledge = Knowledge.model_validate(
        {"sources": written, "answers": {"item": ITEM_ANSWERS, "user": USER_ANSWERS}}
    )
    assert knowledge.sources == read


def test_a_source_without_answers_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"source 'user' is not described .*there: item"):
        Knowledge.model_validate({"sources": ["user"], "answers": {"item": ITEM_ANSWERS}})


def test_a_source_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="'item' is named 2 times; name it once"):
        Knowledge.model_validate({"sources": "item, item", "answers": {"item": ITEM_ANSWERS}})


@pytest.mark.parametrize(
    "name",
    ["..", "../runs", "/tmp/item", "a/b", ".hidden", "-a", "a b", "gpt-4.1", "âge", "а", "a" * 201],
)
def test_names_of_files_and_variables_are_plain(name: str) -> None:
    sources = {"sources": [], "answers": {name: ITEM_ANSWERS}}
    factor = {"sources": [], "answers": {"item": ITEM_ANSWERS | {"factors": ["plot", f"x/{name}"]}}}
    attributes = {"path": "items.csv", "attributes": {name: {"kind": "categorical"}}}
    for section, values in (
        (Knowledge, sources),
        (Knowledge, factor),
        (CatalogueTable, attributes),
        (Profiles, attributes),
    ):
        with pytest.raises(ValidationError, match="becomes the name of files and of"):
            section.model_validate(values)


def test_names_of_inputs_have_no_hyphen() -> None:
    values = {"path": "items.csv", "attributes": {"age-group": {"kind": "categorical"}}}
    assert list(CatalogueTable.model_validate(values).attributes) == ["age-group"]
    with pytest.raises(ValidationError, match="'age-group' becomes .* inputs of the served model"):
        Profiles.model_validate(values)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (HybridExpert, {"expert_units": []}),
        (HybridExpert, {"expert_units": [8, 0]}),
        (Model, {"mlp": {"units": []}}),
        (Model, {"moe": {"expert_units": []}}),
        (Model, {"top_units": [-5]}),
    ],
)
def test_layers_have_widths(section: type[Section], values: object) -> None:
    with pytest.raises(ValidationError, match="greater than 0|at least 1 item"):
        section.model_validate(values)


def test_collective_answers_need_groups() -> None:
    with pytest.raises(ValidationError, match="need 'groups'"):
        SourceAnswers(entity="item", collective=["groups.jsonl"])
    with pytest.raises(ValidationError, match="at least one file"):
        SourceAnswers(entity="item")
    accepted = SourceAnswers(entity="item", collective=["groups.jsonl"], groups="groups.csv")
    assert accepted.groups == "groups.csv"


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ({"collective": ["g.jsonl"], "groups": "g.csv", "grouping": {}}, "exclude each other"),
        (
            {"collective": ["g.jsonl"], "grouping": {}, "groups_verified": True},
            "'groups_verified' is for a 'groups' file of your own",
        ),
        ({"individual": ["a.jsonl"], "vectors": ["v.npz"]}, "in place of answers"),
        ({"vectors": ["v.npz"], "factor": "plot"}, "in place of answers"),
        ({"individual": ["a.jsonl"], "factor": "plot", "factors": ["genre"]}, "exclude each other"),
        ({"individual": ["a.jsonl"], "random": {}}, "'random' .* excludes 'individual'"),
        ({"metadata": ["title"], "random": {}}, "'metadata' .* excludes 'random'"),
        ({"vectors": ["v.npz"], "collaborative": {}}, "'vectors' .* excludes 'collaborative'"),
        ({"collaborative": {}, "groups": "g.csv"}, "'collaborative' .* excludes 'groups'"),
        ({"metadata": ["title"], "grouping": {}}, "'metadata' .* excludes 'grouping'"),
        ({"metadata": []}, "at least one file .* 'metadata', 'random' or 'collaborative'"),
        ({"entity": "user", "metadata": ["title"]}, "are for item sources"),
        ({"entity": "user", "collaborative": {}}, "are for item sources"),
        ({"random": {"dimension": 1}}, "greater than or equal to 2"),
        ({"collaborative": {"dimension": 1}}, "greater than or equal to 2"),
        (
            {"entity": "user", "individual": ["u"], "history_entry_pattern": "(stars"},
            r"history_entry_pattern\s.*not a regular expression \(missing \)",
        ),
    ],
)
def test_contradicting_answers_are_refused(described: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        SourceAnswers.model_validate({"entity": "item"} | described)


def test_controls_stand_in_place_of_answers() -> None:
    metadata = SourceAnswers.model_validate({"entity": "item", "metadata": "title, genres"})
    assert metadata.metadata == ("title", "genres")
    user = SourceAnswers.model_validate({"entity": "user", "random": {}})
    assert user.random is not None and (user.random.dimension, user.random.seed) == (384, 0)
    rated = SourceAnswers.model_validate({"entity": "item", "collaborative": {"seed": 4}})
    assert rated.collaborative is not None
    assert (rated.collaborative.dimension, rated.collaborative.seed) == (64, 4)


def test_vectors_made_elsewhere_may_name_groups() -> None:
    answers = SourceAnswers(entity="item", vectors=["v.npz"], groups="groups.csv")
    assert answers.groups == "groups.csv"


def test_groups_may_be_made_instead_of_named() -> None:
    answers = SourceAnswers(entity="item", collective=["g.jsonl"], grouping=Grouping())
    assert answers.grouping == Grouping(features=("co_occurrence", "attributes"), maximum_size=80)


@pytest.mark.parametrize("features", [[], ["text", "text"], ["colour"]])
def test_grouping_needs_known_features(features: list[str]) -> None:
    with pytest.raises(ValidationError):
        Grouping.model_validate({"features": features})


def test_factors_become_sources() -> None:
    answers = {"item": ITEM_ANSWERS | {"factors": ["genre", "plot"]}, "user": USER_ANSWERS}
    knowledge = Knowledge.model_validate({"sources": ["item_plot", "user"], "answers": answers})
    assert list(knowledge.answers) == ["item_genre", "item_plot", "user"]
    assert knowledge.answers["item_plot"].factor == "plot"
    assert knowledge.answers["item_plot"].individual == ["items.jsonl"]
    assert Knowledge.model_validate(knowledge.model_dump()) == knowledge


def test_a_factor_must_not_hide_a_source() -> None:
    answers = {"item": ITEM_ANSWERS | {"factors": ["plot"]}, "item_plot": ITEM_ANSWERS}
    with pytest.raises(ValidationError, match="source 'item_plot' is a factor of 'item'"):
        Knowledge.model_validate({"sources": ["item_plot"], "answers": answers})


@pytest.mark.parametrize("kind", ["sentence-transformers", "endpoint"])
def test_encoders_by_name_need_the_name(kind: str) -> None:
    with pytest.raises(ValidationError, match="needs 'model'"):
        Encoder.model_validate({"kind": kind})
    assert Encoder.model_validate({"kind": kind, "model": "m"}).model == "m"
