"""Where a run is written when the configuration does not say: a name that tells models apart."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from configs.adapters import FIELD_OPTIONS
from configs.loading import with_effective_options
from configs.matching import Match, Prior
from configs.scenario import Scenario
from configs.section import Section
from trainer.evaluation import kind_of
from trainer.run_folder import RunFolder

_LONGEST_SPELLED = 40

# Options of `model` that have parts of their own in the name; the others are spelled at its end.
_NAMED_APART = frozenset(
    {
        "backbone",
        "backbone_options",
        "adapter",
        "match",
        "prior",
        "tasks",
        "user_profile",
        "initializer",
        "standardized_knowledge",
        *FIELD_OPTIONS,
    }
)


def default_run_folder(scenario: Scenario) -> RunFolder:
    """`run_dir`, or else a folder of work_dir/runs that is named after the model and the seed.

    The name is <backbone>_<adapter>[-<source>...][_<match>][_<option>...]_seed<seed>. It says which
    model this is: whatever changes the model is in it where it is not the default, long lists of
    options as a hash. Options without effect, such as those of an adapter or a match that is
    switched off, are not in it. Neither are settings of training beside the loss: runs that differ
    in nothing else need a `run_dir` each.

    Raises:
      ConfigurationError: there is no such model.
    """
    if scenario.run_dir is not None:
        return RunFolder(scenario.run_dir)
    kind_of(scenario)  # An unknown model has no name.
    name = "_".join([*_parts(with_effective_options(scenario)), f"seed{scenario.training.seed}"])
    return RunFolder(Path(scenario.work_dir) / "runs" / name)


def _parts(scenario: Scenario) -> list[str]:
    model = scenario.model
    sources = scenario.knowledge.sources if model.adapter != "none" else ()
    parts = [
        "-".join([model.backbone, *_spelled(model.backbone_options)]),
        "-".join([model.adapter, *sources]),
    ]
    if model.match != "none":
        parts.append("-".join([model.match, *_options_of(model.knowledge_match)]))
    if model.prior:
        parts.append("-".join(["prior", *_options_of(model.knowledge_prior)]))
    if model.tasks:
        weighted = [
            name if weight == 1 else f"{name}-{_plain(weight)}"
            for name, weight in model.tasks.items()
        ]
        parts.append("-".join(["tasks", *weighted]))
    parts += [*_adapter_options(scenario), *_further_options(scenario)]
    return [*parts, *_spelled(_other_options(scenario))]


def _adapter_options(scenario: Scenario) -> list[str]:
    """What is done with knowledge vectors beside the adapter itself."""
    model = scenario.model
    options = {
        "historyknowledge": model.history_knowledge,
        "factorgate": model.factor_gate,
        "zerostart": model.zero_start,
        "standardized": model.standardized_knowledge,
        f"alignment-{_plain(model.alignment_weight)}": model.alignment_weight > 0,
    }
    return [name for name, is_chosen in options.items() if is_chosen]


def _further_options(scenario: Scenario) -> list[str]:
    profiles = scenario.data.profiles
    options = {
        "published": scenario.model.initializer == "published",
        "noprofile": profiles and profiles.attributes and not scenario.model.user_profile,
        "listwise": scenario.training.list_loss == "listwise",
    }
    return [name for name, is_chosen in options.items() if is_chosen]


def _options_of(section: Match | Prior) -> list[str]:
    """Sources, names of choices, and other values, each only where it is not the default."""
    options = _changed(section)
    parts = list(section.sources) if "sources" in options else []
    if isinstance(section, Match):
        choices = {section.form: "form" in options, "learned": section.learned}
        parts += [name for name, is_chosen in choices.items() if is_chosen]
    apart = {"sources", "form", "learned"}
    return [*parts, *_spelled({k: v for k, v in options.items() if k not in apart})]


def _other_options(scenario: Scenario) -> dict[str, object]:
    """Options that change the model and have no part of their own: widths, rates and the like."""
    model = scenario.model
    options: dict[str, object] = {}
    for key, value in _changed(model).items():
        if isinstance(value, Section):
            # Sections of adapters have the adapter's name; match and prior have their own parts.
            if key == model.adapter:
                options |= {f"{key}.{name}": part for name, part in _changed(value).items()}
        elif key not in _NAMED_APART:
            options[key] = value
    return options


def _changed(section: Section) -> dict[str, object]:
    """The values of a section that are not the default."""
    default = type(section)()
    return {
        name: getattr(section, name)
        for name in type(section).model_fields
        if getattr(section, name) != getattr(default, name)
    }


def _spelled(options: Mapping[str, object]) -> list[str]:
    """Options and values in order of their names, or a hash where they are long."""
    if not options:
        return []
    listed = [f"{name}-{_plain(value)}" for name, value in sorted(options.items())]
    if len("-".join(listed)) <= _LONGEST_SPELLED:
        return listed
    text = json.dumps(options, sort_keys=True, default=str)
    return [hashlib.sha256(text.encode()).hexdigest()[:8]]


def _plain(value: object) -> str:
    """A value in letters that every file system takes; signs of numbers stay."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", str(value).strip("[]()"))
