"""What makes two trainings the same: name, settings, and whether a finished run is there."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from configs.contract_versions import contract_version
from configs.effects import declared, training_settings, without
from configs.loading import ConfigurationError, with_effective_options
from configs.scenario import Scenario
from configs.section import NamesRun, Section
from trainer.evaluation.runs import kind_of
from trainer.run_folder import RunFolder
from trainer.tables import data_fingerprint

_LONGEST_SPELLED = 40


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
    effective = with_effective_options(scenario)
    parts, others = _named(effective.model, "model.", effective)
    training_names, _ = _named(effective.training, "training.", effective)
    name = [*parts, *training_names, *_spelled(others), f"seed{scenario.training.seed}"]
    return RunFolder(Path(scenario.work_dir) / "runs" / "_".join(name))


def _named(section: Section, prefix: str, scenario: Scenario) -> tuple[list[str], dict[str, Any]]:
    """What the options of a section are in the name of a run.

    Args:
      section: the section.
      prefix: its dotted key and a dot.
      scenario: the whole, in which details of an option may stand elsewhere.

    Returns:
      The parts that fields declare (`NamesRun`), in the order of the fields, and by dotted key all
        other options that are not their defaults.
    """
    naming = dict(declared(type(section), NamesRun))
    details = {part.details for part in naming.values()}
    parts: list[str] = []
    others: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        is_changed = value != field.get_default(call_default_factory=True)
        if name in naming:
            if is_changed or naming[name].always:
                parts.append(_part(naming[name], value, scenario))
        elif is_changed and f"{prefix}{name}" not in details:
            if isinstance(value, Section):
                _, inner = _named(value, f"{prefix}{name}.", scenario)
                others |= {f"{name}.{option}": one for option, one in inner.items()}
            else:
                others[name] = value
    return parts, others


def _part(naming: NamesRun, value: object, scenario: Scenario) -> str:
    """A declared part of the name, and what is spelled behind it."""
    spelled = [naming.part.format(_listed(value))]
    if naming.details is not None and value != "none":
        behind = attrgetter(naming.details)(scenario)
        if isinstance(behind, Section):
            parts, others = _named(behind, f"{naming.details}.", scenario)
            spelled += [*parts, *_spelled(others)]
        else:
            spelled += _spelled(behind) if isinstance(behind, Mapping) else behind
    return "-".join(spelled)


def _listed(value: object) -> str:
    """Names as they are, those of a list or with weights (1 is left out) joined; other values."""
    if isinstance(value, Mapping):
        return "-".join(
            name if weight == 1 else f"{name}-{_plain(weight)}" for name, weight in value.items()
        )
    if isinstance(value, tuple):
        return "-".join(value)
    return value if isinstance(value, str) else _plain(value)


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


def run_settings(scenario: Scenario) -> dict[str, Any]:
    """The settings that this scenario's run depends on.

    Not among them: options without effect, sources that the model does not read, and how answers
    are asked for, since the fingerprint of the data tells which answers there are.
    """
    settings = training_settings(with_effective_options(scenario))
    answers = scenario.knowledge.answers
    read = set(scenario.knowledge_sources())
    for source in tuple(read):
        links = answers[source].links
        read.update(links.mine if links is not None else ())
    knowledge = settings["knowledge"]
    knowledge["answers"] = {name: knowledge["answers"][name] for name in sorted(read)}
    if scenario.model.adapter == "none":
        del knowledge["sources"]
    unread = ("prompts", "generation", *(() if read else ("knowledge",)))
    return without(settings, unread)


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
        "settings": run_settings(scenario),
        "fingerprint": data_fingerprint(scenario),
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
        and run_settings(folder.read_scenario()) == run_settings(scenario)
        and folder.read_metrics()["fingerprint"] == data_fingerprint(scenario)
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
        there = json.dumps(run_settings(folder.read_scenario()))
    except ConfigurationError as error:
        reason = f"whose settings this version of the code cannot read ({error})"
    else:
        asked = json.dumps(run_settings(scenario))
        names = differences(there, asked)
        if not names:
            return
        reason = f"with other settings ({', '.join(names)})"
    raise ConfigurationError(
        f"{folder.path} holds a finished run {reason}, which this training would replace; give the "
        "new one a place of its own by 'run_dir=FOLDER', or replace the old one with --force"
    )
