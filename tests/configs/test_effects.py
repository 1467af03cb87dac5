"""Options without effect: refused where a user sets them, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml

from configs.effects import declared, keys_of, training_settings
from configs.loading import (
    ConfigurationError,
    described_keys,
    load_scenario,
    override_scenario,
    require_effect,
    save_scenario,
    with_effective_options,
)
from configs.model import Model
from configs.scenario import Scenario
from configs.section import AxisOf, FixedInArms, NamesRun, Role

TREE: dict[str, Any] = {
    "name": "small",
    "work_dir": "out/small",
    "data": {"interactions": {"path": "ratings.csv"}, "catalogue": {"path": "movies.csv"}},
    "knowledge": {
        "sources": ["item"],
        "answers": {
            "item": {"entity": "item", "individual": ["items.jsonl"]},
            "plot": {"entity": "item", "individual": ["plots.jsonl"]},
        },
    },
}


def written(folder: Path, *changes: dict[str, Any]) -> Path:
    tree = {**TREE}
    for change in changes:
        for name, values in change.items():
            tree[name] = {**tree.get(name, {}), **values}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


# The option and its value, the setting that makes it useless, and one with which it has an effect.
USELESS = [
    ("model.hein.dropout_rate=0.1", "model.adapter=mlp", "model.adapter=hein"),
    ("model.hein={num_shared_experts: 3}", "model.adapter=none", "model.adapter=hein"),
    ("model.moe.num_experts=3", "model.adapter=hein", "model.adapter=moe"),
    ("model.mlp.units=[8]", "model.adapter=linear", "model.adapter=mlp"),
    ("model.pq.num_codebooks=3", "model.adapter=hein", "model.adapter=pq"),
    ("model.knowledge_match.learned=true", "model.match=none", "model.match=means"),
    ("model.knowledge_match.sources=plot", "model.match=none", "model.match=means"),
    ("model.knowledge_match.form=exact", "model.match=means", "model.match=ridge"),
    ("model.knowledge_match.length_scale=0.4", "model.match=means", "model.match=ridge"),
    ("model.knowledge_match.bias=0.1", "model.match=means", "model.match=ridge"),
    ("model.knowledge_match.noise=2", "model.match=means", "model.match=ridge"),
    ("model.knowledge_prior.folds=3", "model.prior=false", "model.prior=true"),
    ("model.history_knowledge=true", "model.adapter=none", "model.adapter=hein"),
    ("model.zero_start=true", "model.adapter=replace_id", "model.adapter=mlp"),
    ("model.alignment_weight=0.1", "model.adapter=replace_id", "model.adapter=hein"),
    ("model.standardized_knowledge=true", "model.adapter=none", "model.adapter=replace_id"),
    ("model.knowledge_dropout_rate=0.3", "model.adapter=replace_id", "model.adapter=hein"),
    ("training.embedding_regularization=3", "model.adapter=replace_id", "model.adapter=hein"),
    ("training.list_loss=listwise", "model.backbone=din", "model.backbone=prm"),
    ("training.class_weights=[1, 2]", "model.backbone=two_tower", "model.backbone=prm"),
    ("training.shuffle_buffer=10", "training.input=memory", "training.input=stream"),
    ("training.devices=2", "training.distribution=none", "training.distribution=mirrored"),
    ("data.rerank.length=20", "data.examples=[ctr]", "data.examples=[ctr, rerank]"),
    (
        "data.labels={loved: {minimum_rating: 5}}",
        "data.examples=[rerank]",
        "data.examples=[rerank, ctr]",
    ),
    ("data.negatives.seed=3", "data.negatives.per_positive=0", "data.negatives.per_positive=1"),
    (
        "data.interactions.time_unit=iso",
        "data.interactions.columns.timestamp=null",
        "data.interactions.columns.timestamp=time",
    ),
    ("data.interactions.columns.part=part", "split.by=user", "split.by=column"),
    ("split.fractions=[0.6, 0.2, 0.2]", "split.by=column", "split.by=user"),
    (
        "data.interactions.separator=;",
        "data.interactions.format=parquet",
        "data.interactions.format=csv",
    ),
    (
        "knowledge.encoder.dimension=8",
        "knowledge.encoder.kind=minilm",
        "knowledge.encoder.kind=tfidf",
    ),
    (
        "knowledge.encoder.maximum_tokens=64",
        "knowledge.encoder.kind=tfidf",
        "knowledge.encoder.kind=minilm",
    ),
    (
        "model.id_dropout_hides=interactions",
        "model.id_dropout_rate=0",
        "model.id_dropout_rate=0.2",
    ),
    (
        "model.backbone_options.num_points=5",
        "model.backbone_options.attention=full",
        "model.backbone_options.attention=induced",
    ),
    (
        "model.backbone_options.block_units=5",
        "model.backbone_options.arrangement=serial",
        "model.backbone_options.arrangement=parallel",
    ),
    (
        "model.backbone_options.gate_units=[5]",
        "model.backbone_options.gating=none",
        "model.backbone_options.gating=learned",
    ),
    (
        "data.positive_rating=3",
        "data.interactions.columns.rating=null",
        "data.interactions.columns.rating=stars",
    ),
    ("data.negatives.per_positive=2", "data.examples=[rerank]", "data.examples=[rerank, ctr]"),
    (
        "model.hein.training_precision=bfloat16",
        "training.precision=mixed_bfloat16",
        "training.precision=mixed_float16",
    ),
    ("serving.augmented_dtype=int8", "model.adapter=none", "model.adapter=mlp"),
    ("experiment.threads_per_process=3", "experiment.processes=1", "experiment.processes=2"),
]


@pytest.mark.parametrize(("option", "useless", "useful"), USELESS)
def test_an_override_without_effect_is_refused(
    tmp_path: Path, option: str, useless: str, useful: str
) -> None:
    path = written(tmp_path)
    setting = useless.partition("=")[0]
    with pytest.raises(ConfigurationError) as raised:
        load_scenario(path, [option, useless])
    (message,) = str(raised.value).splitlines()
    name = option.partition("=")[0]
    assert message.startswith(f"override {name}")
    assert f" has no effect with {setting}=" in message
    assert "leave it out, or take " in message
    assert load_scenario(path, [option, useful])


@pytest.mark.parametrize(("option", "useless", "useful"), USELESS)
def test_a_file_is_held_to_the_same(tmp_path: Path, option: str, useless: str, useful: str) -> None:
    def nested(*assignments: str) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for assignment in assignments:
            key, _, value = assignment.partition("=")
            *sections, name = key.split(".")
            node = tree
            for section in sections:
                node = node.setdefault(section, {})
            node[name] = yaml.safe_load(value)
        tree["data"] = {**TREE["data"], **tree.get("data", {})}
        tree["data"]["interactions"] = {
            **TREE["data"]["interactions"],
            **tree["data"]["interactions"],
        }
        return tree

    with pytest.raises(ConfigurationError, match=f"has no effect with {useless.partition('=')[0]}"):
        load_scenario(written(tmp_path, nested(option, useless)))
    path = written(tmp_path, nested(option, useful))
    base = load_scenario(path)
    # An override that takes another adapter and the like makes no mistake of what the file says.
    replaced = load_scenario(path, [useless])
    assert with_effective_options(replaced) == replaced
    assert base != replaced
    with pytest.raises(ConfigurationError, match="has no effect"):
        load_scenario(path, [useless, option])


def test_defaults_and_values_equal_to_them_are_no_mistake(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_scenario(path, ["model.adapter=none", "model.hein.dropout_rate=0.0"])
    scenario = load_scenario(path, ["model.match=ridge", "model.knowledge_match.noise=2"])
    save_scenario(scenario, tmp_path / "saved.yaml")
    assert load_scenario(tmp_path / "saved.yaml") == scenario


def test_the_exact_form_compares_whole_vectors(tmp_path: Path) -> None:
    path = written(tmp_path)
    width, exact = "model.knowledge_match.dimension=8", "model.knowledge_match.form=exact"
    assert load_scenario(path, ["model.match=ridge", width])
    assert load_scenario(path, ["model.match=means", width])
    with pytest.raises(ConfigurationError, match=r"dimension has no effect with .*form=exact"):
        load_scenario(path, ["model.match=ridge", width, exact])


@pytest.mark.parametrize(
    ("option", "switch"),
    [
        ("model.knowledge_match.link_dimension=8", "model.match=ridge"),
        ("model.knowledge_match.link_length_scale=2", "model.match=ridge"),
        ("model.knowledge_prior.link_dimension=8", "model.prior=true"),
    ],
)
def test_options_of_links_need_a_source_that_has_them(
    tmp_path: Path, option: str, switch: str
) -> None:
    sources = f"{option.rpartition('.')[0]}.sources"
    links = {"entity": "item", "individual": ["links.jsonl"], "links": {}}
    knowledge = {"knowledge": {"answers": {**TREE["knowledge"]["answers"], "links": links}}}
    path = written(tmp_path, knowledge)
    with pytest.raises(ConfigurationError) as raised:
        load_scenario(path, [option, switch, f"{sources}=[item, plot]"])
    assert str(raised.value) == (
        f"override {option.partition('=')[0]} has no effect with {sources}=[item, plot]; leave it "
        "out, or take a source that has knowledge.answers.SOURCE.links"
    )
    with pytest.raises(ConfigurationError, match=r"has no effect with model\.(match|prior)="):
        load_scenario(path, [option, f"{sources}=links"])
    assert load_scenario(path, [option, switch, f"{sources}=plot,links"])
    assert load_scenario(path, [option, switch, "knowledge.answers.item.links={}"])

    arms = {"experiment": {"arms": {"linked": {"overrides": {sources: "plot, links"}}}}}
    path = written(tmp_path, knowledge, arms)
    assert load_scenario(path, [option, switch], for_all_arms=True)
    with pytest.raises(ConfigurationError, match="has no effect"):
        load_scenario(path, [option, switch])


@pytest.mark.parametrize(
    ("option", "switch"),
    [
        ("model.knowledge_match.dimension=8", "model.match=ridge"),
        ("model.knowledge_match.length_scale=2", "model.match=ridge"),
        ("model.knowledge_prior.dimension=8", "model.prior=true"),
    ],
)
def test_options_in_whose_place_links_have_their_own_need_another_source(
    tmp_path: Path, option: str, switch: str
) -> None:
    sources = f"{option.rpartition('.')[0]}.sources"
    links = {"entity": "item", "individual": ["links.jsonl"], "links": {}}
    knowledge = {"knowledge": {"answers": {**TREE["knowledge"]["answers"], "links": links}}}
    path = written(tmp_path, knowledge)
    with pytest.raises(ConfigurationError) as raised:
        load_scenario(path, [option, switch, f"{sources}=links"])
    assert str(raised.value) == (
        f"override {option.partition('=')[0]} has no effect with {sources}=[links]; leave it out, "
        "or take a source that has no knowledge.answers.SOURCE.links"
    )
    assert load_scenario(path, [option, switch, f"{sources}=links,plot"])
    # Means are taken in the general width, of whichever source.
    means = ["model.knowledge_match.dimension=8", "model.match=means"]
    assert load_scenario(path, [*means, "model.knowledge_match.sources=links"])


@pytest.mark.parametrize(
    ("option", "reason", "useful"),
    [
        ("groups_verified=true", "collective=[]", ["collective=[g.jsonl]", "groups=groups.csv"]),
        ("history_entry_pattern=stars", "entity=item", ["entity=user"]),
        ("links.disliked_names=3", "entity=item", ["entity=user"]),
    ],
)
def test_options_of_answers_need_answers_that_they_are_about(
    tmp_path: Path, option: str, reason: str, useful: list[str]
) -> None:
    path = written(tmp_path)
    plot = "knowledge.answers.plot"
    with pytest.raises(ConfigurationError) as raised:
        load_scenario(path, [f"{plot}.{option}"])
    expected = f"{plot}.{option.partition('=')[0]} has no effect with {plot}.{reason}; leave it out"
    assert str(raised.value).startswith(f"override {expected}, or take ")
    assert load_scenario(path, [f"{plot}.{each}" for each in (option, *useful)])


def test_only_prompts_about_single_users_show_a_history(tmp_path: Path) -> None:
    groups = {"entity": "user", "collective": ["g.jsonl"], "groups": "groups.csv"}
    answers = {**TREE["knowledge"]["answers"], "tastes": groups}
    path = written(tmp_path, {"knowledge": {"answers": answers}})
    pattern = "knowledge.answers.tastes.history_entry_pattern=stars"
    with pytest.raises(ConfigurationError, match=r"no effect with \S+tastes\.individual=\[\]"):
        load_scenario(path, [pattern])
    assert load_scenario(path, [pattern, "knowledge.answers.tastes.individual=[u.jsonl]"])


def test_a_history_is_encoded_with_answers_about_users_alone(tmp_path: Path) -> None:
    path, option = written(tmp_path), "knowledge.encoder.text=history_and_answer"
    with pytest.raises(ConfigurationError, match=r"answers\.\*\.entity=\[item, item\]; leave it"):
        load_scenario(path, [option])
    assert load_scenario(path, [option, "knowledge.answers.plot.entity=user"])


def test_every_way_to_have_an_effect_is_named(tmp_path: Path) -> None:
    useless = ["serving.augmented_dtype=float16", "model.adapter=none"]
    with pytest.raises(ConfigurationError, match="take another model.adapter or another model.ma"):
        load_scenario(written(tmp_path), useless)
    assert load_scenario(written(tmp_path), [*useless, "model.match=means"])


def test_an_extraction_may_have_links(tmp_path: Path) -> None:
    links = {"entity": "item", "individual": ["links.jsonl"], "links": {}}
    knowledge = {"knowledge": {"answers": {**TREE["knowledge"]["answers"], "links": links}}}
    base = {"model": {"match": "ridge", "knowledge_match": {"link_dimension": 8}}}
    experiment = {"experiment": {"extractions": {"some": ["plot", "links"]}}}
    assert load_scenario(written(tmp_path, knowledge, base, experiment))
    experiment = {"experiment": {"extractions": {"some": ["plot"]}}}
    with pytest.raises(ConfigurationError, match=r"link_dimension has no effect"):
        load_scenario(written(tmp_path, knowledge, base, experiment))


def test_options_of_an_arm_may_stand_in_the_base(tmp_path: Path) -> None:
    base = {
        "model": {
            "adapter": "none",
            "knowledge_match": {"noise": 2.0},
            "hein": {"dropout_rate": 0.2},
        }
    }
    with pytest.raises(ConfigurationError) as raised:
        load_scenario(written(tmp_path, base))
    assert len(str(raised.value).splitlines()) == 2
    arms = {
        "none": {"overrides": {"model.match": "none"}},
        "ridge": {"overrides": {"model.match": "ridge"}},
    }
    path = written(tmp_path, base, {"experiment": {"arms": arms, "adapters": ["none", "hein"]}})
    scenario = load_scenario(path)
    assert scenario.model.knowledge_match.noise == 2.0
    # Other arms in the place of the file's are no mistake of the file.
    assert load_scenario(path, ["experiment.arms={}", "experiment.adapters=[]"])
    # What somebody asks of one training is not what an arm makes of it.
    option = "model.knowledge_match.bias=0.1"
    with pytest.raises(ConfigurationError, match=r"bias has no effect with model\.match=none"):
        load_scenario(path, [option])
    assert load_scenario(path, [option], for_all_arms=True).model.knowledge_match.bias == 0.1
    assert load_scenario(path, [option], searched={"model.match": ["none", "ridge"]})


def test_an_arm_that_switches_something_off_keeps_the_base(tmp_path: Path) -> None:
    base = load_scenario(
        written(tmp_path),
        ["model.hein.dropout_rate=0.1", "model.match=ridge", "model.knowledge_match.noise=2"],
    )
    switched_off = {"model.adapter": "none", "model.match": "means"}
    require_effect(base, switched_off)
    arm = override_scenario(base, switched_off)
    assert arm.model.hein.dropout_rate == 0.1
    effective = with_effective_options(arm)
    assert effective.model.hein.dropout_rate == 0.0
    assert effective.model.knowledge_match.noise == 1.0
    with pytest.raises(ConfigurationError, match=r"hein\.dropout_rate has no effect"):
        require_effect(base, {"model.adapter": "mlp", "model.hein.dropout_rate": 0.3})


@pytest.mark.parametrize(
    "key", ["model.attention_history_length", "model.knowledge_match.history_length"]
)
def test_nobody_reads_more_of_a_history_than_an_example_holds(tmp_path: Path, key: str) -> None:
    path = written(tmp_path, {"model": {"match": "ridge"}})
    with pytest.raises(ConfigurationError) as raised:
        load_scenario(path, ["data.history_length=20", f"{key}=25"])
    assert f"{key}=25 has no effect beyond data.history_length=20" in str(raised.value)
    assert "set it to 20 at most, or raise data.history_length" in str(raised.value)
    assert load_scenario(path, ["data.history_length=20", f"{key}=20"])
    scenario = load_scenario(path, ["data.history_length=20"])
    assert (scenario.attention_history_length, scenario.match_history_length) == (20, 20)
    scenario = load_scenario(path)
    assert (scenario.attention_history_length, scenario.match_history_length) == (30, 200)


def test_what_depends_on_an_option_is_declared_where_it_is() -> None:
    class Wide(Model):
        remark: Annotated[str, Role.NO_TRAINING] = ""
        reads_titles: Annotated[bool, Role.INPUTS] = False

    class WideScenario(Scenario):
        model: Wide = Wide()

    settings = training_settings(WideScenario.model_validate(TREE))
    assert "reads_titles" in settings["model"] and "remark" not in settings["model"]
    assert "evaluation" not in settings and "name" not in settings
    assert "model.reads_titles" in keys_of(WideScenario, Role.INPUTS)
    assert "model.reads_titles" not in keys_of(Scenario, Role.INPUTS)


def test_roles_and_names_stand_at_options_that_exist() -> None:
    keys = set(described_keys())
    for _, naming in declared(Scenario, NamesRun):
        details = naming.details
        assert details is None or any(key.startswith(details) for key in keys)
    assert {axis.key for _, axis in declared(Scenario, AxisOf)} <= keys
    assert [key for key, _ in declared(Scenario, FixedInArms)] == [
        "work_dir",
        "run_dir",
        "model.backbone",
        "training.seed",
        "experiment",
    ]
