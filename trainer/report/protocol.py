"""How an experiment was done, in sentences: leak check, budget, tuning, cautions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from configs.experiment import Arm, SearchRange
from configs.scenario import Scenario
from configs.training import Training
from preprocessing.records.leak_rule import LeakRule, leak_cautions, rules_of
from trainer.experiments.grid import arm_scenarios, experiment_arms
from trainer.experiments.results import Comparison
from trainer.metrics import display_name
from trainer.predictions import SamplePredictions
from trainer.report.inputs import ReportInputs
from trainer.report.sentences import value_text


def leak_sentences(inputs: ReportInputs) -> list[str]:
    """The result of the leak check in sentences, what it takes on trust last."""
    check = inputs.leak["leak_check"]
    return [
        _violation_sentence(inputs.leak["leak_violations"]),
        f"For {check['users_verified_by_prompt']:,} users every interaction that their prompts "
        "show was looked up by title and rating, and is one that the LLM may have seen; for "
        f"{check['users_by_rule_only']:,} users samples were compared with k_u alone.",
        *_declared_sentences(inputs),
        *_unverified_sentences(inputs),
    ]


def leak_rules_of_report(inputs: ReportInputs) -> dict[str, LeakRule]:
    """What is known of every source that an arm of the report reads."""
    return rules_of(inputs.leak["leak_check"], _readers(inputs))


def unverified_sources(inputs: ReportInputs) -> list[str]:
    """Unverified sources that an arm of the report reads."""
    rules = leak_rules_of_report(inputs)
    return [source for source, rule in rules.items() if rule is LeakRule.UNVERIFIED]


def _violation_sentence(violations: int) -> str:
    if violations == 0:
        return (
            "0 violations: no sample is among the interactions that the LLM may have seen. A "
            "violation stops the job before training."
        )
    noun = "sample was" if violations == 1 else "samples were"
    return (
        f"{violations:,} {noun} seen by the LLM: the results rest on leaked labels and must not "
        "be used."
    )


def _unverified_sentences(inputs: ReportInputs) -> list[str]:
    read = _readers(inputs)
    return [
        f"Unverified source “{source}” (read by {', '.join(read[source])}): "
        f"{_reason(inputs.scenario, source)}"
        for source in unverified_sources(inputs)
    ] or ["No source that an arm reads is unverified."]


def _declared_sentences(inputs: ReportInputs) -> list[str]:
    """One sentence per source that is taken on the configuration's word."""
    read = _readers(inputs)
    sentences = []
    for source, answers in inputs.scenario.knowledge.answers.items():
        if source not in read:
            continue
        declared = (
            f"Declared source “{source}” (read by {', '.join(read[source])}): the configuration "
        )
        if answers.seen == "training":
            sentences.append(
                declared + "declares it as made from the training part (seen: training). Training "
                "samples were seen by the LLM; only validation and test samples are held to the "
                "leak rule, and prompts are looked up where they are at hand."
            )
        elif answers.collective and answers.groups_verified:
            sentences.append(
                declared + "declares its groups as built from interactions before k_u only "
                "(groups_verified); this is not checked."
            )
    return sentences


def _readers(inputs: ReportInputs) -> dict[str, list[str]]:
    """Source -> the arms of the report that read it; sources that none reads are absent."""
    arms: dict[str, list[str]] = {}
    for arm, scenario in arm_scenarios(inputs.scenario).items():
        for source in scenario.knowledge_sources() if arm in inputs.arms else ():
            arms.setdefault(source, []).append(arm)
    return arms


def _reason(scenario: Scenario, source: str) -> str:
    answers = scenario.knowledge.answers.get(source)
    reasons = []
    if answers is not None and answers.vectors:
        reasons.append(
            "its vectors were made elsewhere, and nothing shows from which interactions."
        )
    made_here = answers is not None and answers.grouping is not None
    if answers is not None and answers.collective and not (made_here or answers.groups_verified):
        reasons.append(
            f"its {answers.entity} groups are not declared as built before k_u (groups_verified). "
            "Groups made from co-ratings of all users, as the item groups of the bundled "
            "MovieLens sample are, have seen validation and test interactions too, so which "
            f"group {_article(answers.entity)} belongs to is not covered by the leak check. It "
            f"concerns the {answers.entity}s that take their group’s answer for want of one of "
            "their own."
        )
    if answers is not None and answers.entity == "user" and answers.individual:
        missing = (
            "nothing says where interactions are in its prompts (history_entry_pattern)"
            if answers.history_entry_pattern is None
            else "not all of its prompts were looked up, as answers came without a prompt or with "
            "one that shows interactions that the user does not have"
        )
        reasons.append(
            f"{missing}, so what the LLM saw of a user rests on the word of whoever made the "
            "answers."
        )
    return " Also, ".join(reasons) or "nothing shows what its answers were made from."


def _article(entity: str) -> str:
    return f"an {entity}" if entity == "item" else f"a {entity}"


_ENOUGH_SEEDS = 5
_LISTED = 4


def cautions(inputs: ReportInputs) -> list[str]:
    """Sentences for results.json (`warnings`), results.md and the page; none if all is well."""
    return [
        *_training_cautions(inputs),
        *_seed_cautions(inputs),
        *leak_cautions(leak_rules_of_report(inputs)),
    ]


def _training_cautions(inputs: ReportInputs) -> list[str]:
    cells = {
        (backbone, arm): [run.undertrained for run in inputs.experiment.runs_of(backbone, arm)]
        for backbone in inputs.backbones
        for arm in inputs.arms
    }
    rising = [
        f"{backbone} '{arm}' ({sum(flags)} of {len(flags)} runs)"
        for (backbone, arm), flags in cells.items()
        if any(flags)
    ]
    if not rising:
        return []
    if len(rising) > _LISTED:
        arms = dict.fromkeys(arm for (_, arm), flags in cells.items() if any(flags))
        rising = [f"{len(rising)} of {len(cells)} models, in the arms {', '.join(arms)}"]
    return [
        "Validation still rose when training.epochs ended the training of "
        f"{', '.join(rising)}. A baseline that is not trained to its end flatters what is compared "
        "with it: raise training.epochs, or search the baseline's settings first "
        "(experiment.tune_baseline)."
    ]


def _seed_cautions(inputs: ReportInputs) -> list[str]:
    comparisons = inputs.comparisons
    if not comparisons:
        return []
    if not all(one.difference.covers_seeds for one in comparisons):
        return [
            "Seeds are not covered: with one seed per model, intervals and p-values are about "
            "other test users only, and nothing is marked as significant. Train three seeds or "
            "more (experiment.seeds)."
        ]
    seeds = sorted({run.seed for run in inputs.experiment.runs})
    scattered = [one for one in comparisons if one.difference.seeds_scatter]
    if not scattered or len(seeds) >= _ENOUGH_SEEDS:
        return []
    more = range(max(seeds) + 1, max(seeds) + 1 + _ENOUGH_SEEDS - len(seeds))
    return [
        f"Seeds scatter: the difference of {_named(scattered, len(comparisons))} is less than two "
        f"standard errors of its seeds. Five seeds for all arms tell more: experiment.seeds="
        f"[{','.join(map(str, [*seeds, *more]))}]; runs that are there are used again."
    ]


def _named(comparisons: Sequence[Comparison], total: int) -> str:
    if len(comparisons) > _LISTED:
        return f"{len(comparisons)} of {total} comparisons"
    return ", ".join(f"{one.backbone} '{one.knowledge}'" for one in comparisons)


_FURTHER = (
    "embedding_optimizer",
    "embedding_learning_rate",
    "warmup_steps",
    "weight_decay",
    "gradient_clip_norm",
    "class_weights",
    "list_loss",
    "selection",
    "precision",
    "input",
)
_OPTIMIZERS = {"adam": "Adam", "lazy_adam": "lazy Adam", "adagrad": "Adagrad", "sgd": "SGD"}
_SCHEDULES = {
    "constant": "kept constant",
    "cosine": "falling to 0 along a cosine over all epochs",
}


def budget_entry(scenario: Scenario, arms: Mapping[str, Scenario]) -> tuple[str, str]:
    """Training and regularisation settings of an experiment: (term, sentences).

    Args:
      scenario: the scenario whose settings hold where an arm says nothing else.
      arms: arm -> its resolved scenario.
    """
    shared = _settings(scenario)
    listed = "; ".join(f"{name} {value}" for name, value in shared.items())
    deviations = []
    for arm, resolved in arms.items():
        own = _settings(resolved)
        changed = [
            f"{name} {own.get(name, 'as by default')} (not {shared.get(name, 'as by default')})"
            for name in {**shared, **own}
            if own.get(name) != shared.get(name)
        ]
        if changed:
            deviations.append(f"Arm '{arm}' differs: {'; '.join(changed)}.")
    term = "Budget, not the same in all arms" if deviations else "Same budget in all arms"
    where = "Knowledge dropout acts on arms with an adapter, expert dropout on arms with HEIN."
    tuned = _tuning_sentences(scenario)
    return term, " ".join([f"{listed[0].upper()}{listed[1:]}.", where, *tuned, *deviations])


def _tuning_sentences(scenario: Scenario) -> list[str]:
    experiment = scenario.experiment
    is_shared = bool(experiment.tune_baseline.trials)
    tuning = experiment.tune_baseline if is_shared else experiment.tuning
    if not tuning.trials:
        return ["No settings were searched."]
    tuned_options = (
        f"the arm '{experiment.baseline}' of each backbone"
        if is_shared
        else "each cell (backbone and arm)"
    )
    trained = "every seed of all its arms" if is_shared else "every seed"
    return [
        f"Of {tuned_options} {tuning.trials} settings were tried, over the same space "
        f"({'; '.join(f'{key} {range_text(one)}' for key, one in tuning.space.items())}), with the "
        f"same search seed ({tuning.seed}) and the first training seed ({experiment.seeds[0]}), "
        f"and judged on the validation part; with the best ones {trained} was trained."
    ]


def range_text(searched: SearchRange) -> str:
    """What was searched, e.g. "0.0001 to 0.01, logarithmic"."""
    if searched.choices is not None:
        return f"among {', '.join(map(str, searched.choices))}"
    how = ", logarithmic" if searched.log else ""
    step = "" if searched.step is None else f" in steps of {searched.step:g}"
    return f"{searched.low:g} to {searched.high:g}{step}{how}"


def _settings(scenario: Scenario) -> dict[str, str]:
    """What people call a setting -> its value; all that shapes training but the seed."""
    training, model = scenario.training, scenario.model
    return {
        "epochs": f"{training.epochs} at most",
        "patience": f"{training.patience} epochs without a better validation result",
        "batch size": f"{training.batch_size}",
        "optimizer": f"{_OPTIMIZERS[training.optimizer]} with learning rate "
        f"{training.learning_rate:g}, {_SCHEDULES[training.schedule]}",
        "L2 factor on the id embeddings of a batch": f"{training.embedding_regularization:g}",
        "dropout": f"{model.dropout_rate:g}",
        "id dropout": f"{model.id_dropout_rate:g}"
        + (", of all that interactions tell" if model.id_dropout_hides == "interactions" else ""),
        "knowledge dropout": f"{model.knowledge_dropout_rate:g}",
        "expert dropout": f"{model.hein.dropout_rate:g}",
        **{_words(name): str(value) for name, value in _changed_training(training).items()},
    }


def _changed_training(training: Training) -> dict[str, object]:
    """Further settings of training, where they are not the default."""
    default = Training()
    return {
        name: getattr(training, name)
        for name in _FURTHER
        if getattr(training, name) != getattr(default, name)
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def protocol_values(inputs: ReportInputs) -> dict[str, object]:
    """What `protocol.html.jinja` is filled in with."""
    scenario = inputs.scenario
    runs = inputs.experiment.runs
    test = runs[0].predictions
    return {
        "inputs": inputs,
        "scenario": scenario,
        "test": test,
        "users": len(set(test.user_ids)),
        "positive_share": test.labels.mean() if isinstance(test, SamplePredictions) else None,
        "budget": budget_entry(scenario, arm_scenarios(scenario)),
        "selected_by": [display_name(name) for name in {run.selection_metric for run in runs}],
        "seeds": sorted({run.seed for run in runs}),
        "arms": arm_entries(inputs),
    }


def arm_entries(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What each arm is: (name, its description, the knowledge it uses, and its overrides)."""
    arms = experiment_arms(inputs.scenario)
    resolved = arm_scenarios(inputs.scenario)
    return [
        (
            name,
            " ".join(
                text
                for text in (
                    arms[name].description,
                    _knowledge_text(resolved[name]),
                    _override_text(arms[name]),
                )
                if text
            ),
        )
        for name in inputs.arms
        if name in resolved
    ]


def _knowledge_text(scenario: Scenario) -> str:
    model = scenario.model
    parts = []
    if model.adapter != "none":
        parts.append(
            f"Augmented vectors of {model.adapter.upper()} as fields, sources: "
            f"{', '.join(scenario.knowledge.sources)}"
        )
    if model.match != "none":
        match = model.knowledge_match
        parts.append(
            f"Knowledge match ({model.match}) on {', '.join(match.sources)} over the newest "
            f"{scenario.match_history_length} interactions"
        )
    if model.prior:
        parts.append(f"Knowledge prior of {', '.join(model.knowledge_prior.sources)}")
    return f"{'. '.join(parts)}." if parts else "No knowledge."


def _override_text(arm: Arm) -> str:
    if not arm.overrides:
        return ""
    return f"({', '.join(f'{key}={value_text(value)}' for key, value in arm.overrides.items())})"
