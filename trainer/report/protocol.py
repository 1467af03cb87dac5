"""How the experiment was done, as terms and sentences taken from its configuration."""

from __future__ import annotations

from configs.judging import Arm
from configs.raw_data import Data
from configs.scenario import Scenario
from trainer.experiments.arms import experiment_arms
from trainer.experiments.grid import arm_scenarios
from trainer.metric_names import people_call
from trainer.predictions import Predictions
from trainer.report.budget import budget_entry
from trainer.report.inputs import ReportInputs
from trainer.report.table import value_text
from trainer.sample_predictions import SamplePredictions

Entry = tuple[str, str]

_METRICS = {
    "auc": "AUC and LogLoss (nats) over the pooled test samples. GAUC is the mean of the users’ "
    "own AUCs, weighted by their samples, without users of one class.",
    "ndcg_at_10": "NDCG@10 and MAP@10 are means over the test lists with a positive candidate, AUC "
    "is over all candidates of all lists.",
    "new_items_recall_at_10": "Recall@10 is the share of test examples whose item is among the "
    "first ten of all items; among new items: of those that are not in the user’s history. MRR is "
    "the mean of 1 / rank.",
}
"""Main metric of a kind of model -> what its metrics are."""


def protocol_entries(inputs: ReportInputs) -> list[Entry]:
    """The protocol: (term, sentence)."""
    scenario = inputs.scenario
    data = scenario.data
    test = inputs.experiment.runs[0].predictions
    seeds = sorted({run.seed for run in inputs.experiment.runs})
    found = ", and in settings found by the same search"
    return [
        (
            "Data",
            f"{scenario.name}: {', '.join(data.interactions.paths)}. {_test_text(data, test)}",
        ),
        ("Split", _split_text(scenario)),
        (
            "Same inputs in all arms",
            f"Histories of up to {data.history_length} interactions with their ratings (attention "
            f"reads the newest {scenario.attention_history_length}), running user statistics and "
            "item means of the training interactions. An arm differs from the others only in what "
            f"is named under “Arms”{found if scenario.experiment.tuning.trials else ''}.",
        ),
        budget_entry(scenario, arm_scenarios(scenario)),
        (
            "Selection",
            "On the validation part alone: the epoch with the best validation result is kept "
            f"({', '.join(_selection_metrics(inputs))}). The test part is read once per finished "
            "run.",
        ),
        ("Seeds", f"{', '.join(str(seed) for seed in seeds)}; a figure is the mean over them."),
        (
            "Comparisons",
            f"Every arm with '{inputs.baseline}', same backbone, same test {test.examples_name}, "
            f"in {inputs.metric_name}.",
        ),
        (
            "Intervals",
            "95 % percentile intervals of a paired bootstrap over test users, "
            f"{scenario.evaluation.bootstrap_resamples:,} resamples. {_seeds_text(inputs)}",
        ),
        ("Metrics", _METRICS[inputs.experiment.metric]),
    ]


def _seeds_text(inputs: ReportInputs) -> str:
    if len({run.seed for run in inputs.experiment.runs}) == 1:
        return "They cover the choice of users and not that of seeds, of which there is one."
    return (
        "They cover the choice of users and of seeds: each resample moves by the standard error "
        "of the seeds, times a draw of Student’s t with Welch’s degrees of freedom "
        "(docs/evaluation.md)."
    )


def _test_text(data: Data, test: Predictions) -> str:
    users = f"{len(set(test.user_ids)):,} users"
    if not isinstance(test, SamplePredictions):
        return f"The test part has {test.count:,} {test.examples_name} of {users}."
    return (
        f"A sample is positive when {_positive_text(data)}. The test part has {test.count:,} "
        f"samples of {users}, {100 * test.labels.mean():.1f} % of them positive."
    )


def _selection_metrics(inputs: ReportInputs) -> list[str]:
    """What people call the metrics by which epochs were chosen."""
    return [people_call(name) for name in {run.selection_metric for run in inputs.experiment.runs}]


def _positive_text(data: Data) -> str:
    columns = data.interactions.columns
    if columns.label is not None:
        return f"its column '{columns.label}' says so"
    if columns.rating is not None:
        return f"its rating is at least {data.positive_rating:g}"
    negatives = data.negatives
    return (
        f"it is an interaction; {negatives.per_positive} negatives each are items without an "
        f"interaction, sampled by {negatives.by}"
    )


def arm_entries(inputs: ReportInputs) -> list[Entry]:
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


def _split_text(scenario: Scenario) -> str:
    split = scenario.split
    shares = " : ".join(f"{100 * fraction:g}" for fraction in split.fractions)
    how = {
        "time": f"By time, {shares} %: within each user, training, validation and test samples "
        "follow each other in time",
        "user": f"By user, {shares} %: every user belongs to one part, so validation and test "
        "users are new",
        "global_time": f"By global time, {shares} %: training, validation and test samples follow "
        "each other in time over all users",
        "column": f"By a column of the interactions ('{scenario.data.interactions.columns.part}')",
    }[split.by]
    return (
        f"{how}. Samples start after a user’s first k_u = min(floor((n + 1) / 2), "
        f"{split.knowledge_history_cap}) interactions, which the LLM may have seen."
    )


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
