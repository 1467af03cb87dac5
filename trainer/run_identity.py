"""What makes two trainings the same: name, settings, and whether a finished run is there."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from configs.contract_versions import contract_version
from configs.loading import ConfigurationError, with_effective_options
from configs.model import FIELD_OPTIONS, Match, Prior
from configs.scenario import Scenario
from configs.section import Section
from trainer.evaluation.runs import kind_of
from trainer.run_folder import RunFolder
from trainer.run_settings import training_settings
from trainer.tables import fingerprint

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


Files = Mapping[str, Sequence[str | Path]]
"""Part -> files that take the place of the work directory's."""


def training_identity(
    scenario: Scenario, files: Files, max_steps: int | None, validation_limit: int | None
) -> dict[str, object]:
    """What decides which weights a training ends with.

    Args:
      scenario: settings, and the data they name.
      files: in the place of the work directory's.
      max_steps: of all epochs, at most.
      validation_limit: validation examples, at most.
    """
    return {
        "settings": training_settings(scenario),
        "fingerprint": fingerprint(scenario),
        "code_version": contract_version("training"),
        "files": {
            part: [[str(path), os.path.getsize(path)] for path in paths]
            for part, paths in files.items()
        },
        "limits": [max_steps, validation_limit],
    }


def differences(first: str, second: str) -> list[str]:
    """Dotted names of what differs between two identities, in order.

    Args:
      first: JSON object of a training, whose settings are under "settings".
      second: of another training.

    Returns:
      Names, those of settings as they stand in a configuration; none if a text is no JSON object.
    """
    try:
        one, other = (dict(_leaves(json.loads(text))) for text in (first, second))
    except ValueError:
        return []
    return sorted(
        name.removeprefix("settings.")
        for name in one.keys() | other.keys()
        if one.get(name) != other.get(name)
    )


def _leaves(tree: object, name: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(tree, dict):
        yield name, tree
        return
    for key, value in tree.items():
        yield from _leaves(value, f"{name}.{key}" if name else key)


def is_up_to_date(folder: RunFolder, scenario: Scenario) -> bool:
    """Whether a folder holds a finished run with these settings, this data and this code."""
    return (
        folder.is_complete
        and folder.read_metrics().get("code_version") == contract_version("training")
        and training_settings(folder.read_scenario()) == training_settings(scenario)
        and folder.read_metrics()["fingerprint"] == fingerprint(scenario)
    )


def require_no_other_run(folder: RunFolder, scenario: Scenario) -> None:
    """Makes sure that a training replaces no finished run that has other settings.

    Args:
      folder: where the run belongs.
      scenario: its settings.

    Raises:
      ConfigurationError: there is a finished run with other settings; the message names them.
    """
    if not folder.is_complete:
        return
    try:
        there = json.dumps(training_settings(folder.read_scenario()))
    except ConfigurationError as error:
        reason = f"whose settings this version of the code cannot read ({error})"
    else:
        asked = json.dumps(training_settings(scenario))
        names = differences(there, asked)
        if not names:
            return
        reason = f"with other settings ({', '.join(names)})"
    raise ConfigurationError(
        f"{folder.path} holds a finished run {reason}, which this training would replace; give the "
        "new one a place of its own by 'run_dir=FOLDER', or replace the old one with --force"
    )
