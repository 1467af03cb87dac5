"""`prompts --propose-factors`: the factors of a new scenario.

The question, how its answer is read, and the call of the configured LLM.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from configs.command_line import CommandError, say
from configs.files import replaced_when_complete
from configs.loading import YAML_FAULTS, ConfigurationError
from configs.prompting import Generation
from preprocessing.answers.record import custom_id, prompt_sha256
from preprocessing.generation.generate import GenerateStep
from preprocessing.generation.outputs import OutputFolder
from preprocessing.prompt_templates import (
    LinksQuestion,
    Template,
    load_prompt_scenario,
    prompt_scenario_path,
    sanitise_text,
)
from preprocessing.records.contract import INDIVIDUAL

FEWEST, MOST = 2, 20
LONGEST_CHARACTERS = 60
_FEWEST_WITHOUT_HEADING, _MOST_WORDS = 3, 4
_SHOWN_CHARACTERS = 1500
_NAME_KEYS = ("name", "factor", "title")
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
_KEY_LINE = re.compile(r"^(factors|noun|items?|users?)\s*:", re.MULTILINE | re.IGNORECASE)
_ENTRY = re.compile(r"^\s*(?:[-*+•–]|\(?\d{1,2}[.):]|[a-z][.)])\s+(?P<text>\S.*)$")
_HEADING = re.compile(r"^[\s#*_-]*(?P<title>[^:]{0,80}?)[\s*_]*(?::[\s*_]*(?P<rest>.*))?$")
_BOLD = re.compile(r"^(\*\*|__)(?P<name>.+?)\1")
_DESCRIPTION = re.compile(r"\s*(?::\s|\s[-–—]+\s|\s\().*$")
_COMMA = re.compile(r"[,;]\s*(?:and\s+)?")
_ABOUT_USERS = re.compile(r"\buser", re.IGNORECASE)
_ABOUT_ITEMS = re.compile(r"\bitem", re.IGNORECASE)


class FactorsNotUnderstood(CommandError):
    """No factors can be read from an answer, or they cannot be used; the message shows it."""


@dataclass(frozen=True)
class ProposedFactors:
    """What an LLM proposes for a scenario.

    Attributes:
      item: factors that describe an item.
      user: factors that describe a user's preferences.
      noun: singular and plural of what an item is called; None if the answer does not say.
    """

    item: tuple[str, ...]
    user: tuple[str, ...]
    noun: tuple[str, str] | None = None


def parse_factors(answer: str) -> ProposedFactors:
    """Reads the factors of an answer. One list without a heading stands for items and users.

    Raises:
      FactorsNotUnderstood: there is no list, or one has too few, too many or too long factors.
    """
    tree = next(_structured(answer), None)
    if tree is not None:
        lists, noun = _lists_of_tree(tree), _noun(tree)
    else:
        lists, noun = _lists_of_lines(answer.splitlines()), None
    both = lists.get("both", [])
    item, user = lists.get("item") or both, lists.get("user") or both
    try:
        return ProposedFactors(_checked("item", item or user), _checked("user", user or item), noun)
    except ValueError as error:
        shown = answer.strip()[:_SHOWN_CHARACTERS]
        raise FactorsNotUnderstood(
            f"no usable factors in the LLM's answer: {error}. It answered:\n{shown}\n"
            "Its answer is stored; ask another way with another generation.model or "
            "generation.temperature, or write the scenario by hand after "
            "preprocessing/scenarios/movies.yaml"
        ) from error


def _structured(answer: str) -> Iterator[object]:
    """Trees that parts of the answer hold as YAML or JSON, those that name factors."""
    texts = [*_FENCE.findall(answer), answer]
    for text in texts:
        candidates = [text]
        candidates += [text[match.start() :] for match in _KEY_LINE.finditer(text)]
        for opening, closing in ("{}", "[]"):
            start, end = text.find(opening), text.rfind(closing)
            if 0 <= start < end:
                candidates.append(text[start : end + 1])
        for candidate in candidates:
            # Prose after the list is no YAML, so paragraphs are left out from the end on.
            paragraphs = candidate.split("\n\n")
            for count in range(len(paragraphs), 0, -1):
                try:
                    tree = yaml.safe_load("\n\n".join(paragraphs[:count]))
                except YAML_FAULTS:
                    continue
                if _lists_of_tree(tree):
                    yield tree


def _lists_of_tree(tree: object) -> dict[str, list[str]]:
    """Lists of texts under `factors`, `item` or `user`, or a bare list."""
    if isinstance(tree, list):
        merged = {key: value for entry in tree if isinstance(entry, Mapping)
                  for key, value in entry.items()}  # fmt: skip
        if merged and all(_section(str(key)) for key in merged):
            return _lists_of_tree(merged)
        names = [_name_of(entry) for entry in tree]
        return {"both": [name for name in names if name]} if any(names) else {}
    if not isinstance(tree, Mapping):
        return {}
    lists: dict[str, list[str]] = {}
    for key, value in tree.items():
        if isinstance(key, str) and key.lower() == "factors":
            lists |= _lists_of_tree(value)
            continue
        section = _section(str(key))
        entries = _split(value) if isinstance(value, str) else value
        if section and isinstance(entries, list):
            lists[section] = [name for name in map(_name_of, entries) if name]
    return lists


def _name_of(entry: object) -> str:
    """A factor's name where a list holds texts, objects with a name, or `name: description`."""
    if isinstance(entry, Mapping):
        named = [entry[key] for key in _NAME_KEYS if isinstance(entry.get(key), str)]
        return named[0] if named else str(next(iter(entry), ""))
    return entry if isinstance(entry, str) else ""


def _lists_of_lines(lines: Sequence[str]) -> dict[str, list[str]]:
    """Entries of numbered, bulleted and comma lists, under the heading that they follow."""
    lists: dict[str, list[str]] = {}
    section = "both"
    for line in lines:
        entry = _ENTRY.match(line)
        heading = _HEADING.match(line)
        title = heading["title"] if heading else ""
        rest = (heading["rest"] or "") if heading else ""
        about = _section(title)
        if entry and not (about and "," in rest):
            lists.setdefault(section, []).append(entry["text"])
            continue
        if about:
            section = about
        names = _split(rest if about and rest.strip() else line)
        if (about and len(names) > 1) or _is_comma_list(names):
            lists.setdefault(section, []).extend(names)
    return lists


def _is_comma_list(names: Sequence[str]) -> bool:
    """Whether the parts of a line without a heading are names, not the clauses of a sentence."""
    shortish = all(len(name.split()) <= _MOST_WORDS and "." not in name[:-1] for name in names)
    return len(names) >= _FEWEST_WITHOUT_HEADING and shortish


def _split(listed: str) -> list[str]:
    return _COMMA.split(listed)


def _section(title: str) -> str | None:
    """Whom a heading or a key is about."""
    if _ABOUT_USERS.search(title.replace("_", " ")):
        return "user"
    return "item" if _ABOUT_ITEMS.search(title.replace("_", " ")) else None


def _noun(tree: object) -> tuple[str, str] | None:
    noun = tree.get("noun") if isinstance(tree, Mapping) else None
    if not isinstance(noun, Mapping):
        return None
    texts = [sanitise_text(str(noun.get(key) or ""), LONGEST_CHARACTERS, quoted=False)
             for key in ("singular", "plural")]  # fmt: skip
    return (texts[0], texts[1]) if all(texts) else None


def _checked(section: str, entries: Sequence[str]) -> tuple[str, ...]:
    """Names without markup, description and repetition.

    Raises:
      ValueError: they cannot be used.
    """
    names: dict[str, str] = {}
    for name in map(_cleaned, entries):
        if name:
            names.setdefault(name.casefold(), name)
    factors = tuple(names.values())
    for factor in factors:
        if len(factor) > LONGEST_CHARACTERS:
            raise ValueError(f"'{factor}' is longer than {LONGEST_CHARACTERS} characters")
    if not FEWEST <= len(factors) <= MOST:
        raise ValueError(f"{len(factors)} {section} factors, where {FEWEST} to {MOST} make sense")
    return factors


def _cleaned(entry: str) -> str:
    entry = entry.strip()
    bold = _BOLD.match(entry)
    name = bold["name"] if bold else _DESCRIPTION.sub("", entry)
    shown = sanitise_text(name, LONGEST_CHARACTERS * 3, quoted=False)
    return shown.strip(" .,;:*_'\"()[]{}").strip()


_DESCRIPTION_CHARACTERS = 2000
_PROPOSAL = Template(
    "You advise the builders of a recommender system. The scenario, in their words, is: "
    '"{description}".\n'
    "Which factors decide whether a user of this scenario likes an item? Name 6 to 10 factors "
    "that describe an item, and 6 to 10 that describe a user's preferences. A factor is a noun "
    "phrase of at most four words, is independent of the others, can be known from an item's name "
    "by somebody with general knowledge, and is none of popularity, price history or anything "
    "that only the platform knows.\n"
    "Answer with YAML alone, in this form:\n"
    "noun: {{singular: what an item is called, plural: the same for several}}\n"
    "factors:\n"
    "  item: [first factor, second factor]\n"
    "  user: [first factor, second factor]\n"
)


def factor_proposal_prompt(description: str) -> str:
    """The prompt that asks for the factors of a scenario.

    Args:
      description: what is recommended to whom, e.g. "short news videos for commuters".

    Raises:
      ValueError: the description is empty.
    """
    shown = sanitise_text(description, _DESCRIPTION_CHARACTERS, quoted=True)
    if not shown:
        raise ValueError("the description of the scenario is empty")
    return _PROPOSAL.fill({"description": shown})


_GENERAL_SCENARIO = "movies"
"""The bundled scenario whose templates suit any noun."""

_ANY_NOUN = ("item", "items")
_WIDTH = 96
_NAME_CHARACTERS = 40
_SHOWN_VALUE_CHARACTERS = 300


def scenario_name(description: str) -> str:
    """A file name made from a scenario's description, e.g. "short_news_videos"."""
    words = re.sub(r"[^a-z0-9]+", "_", description.lower()).strip("_")
    return words[:_NAME_CHARACTERS].strip("_") or "scenario"


def write_scenario_file(
    path: Path, description: str, proposed: ProposedFactors, proposed_by: str
) -> None:
    """Writes a scenario that `load_prompt_scenario` reads; it appears complete or not at all.

    Args:
      path: the YAML file.
      description: what is recommended to whom.
      proposed: the factors.
      proposed_by: name of the LLM.
    """
    general = load_prompt_scenario(prompt_scenario_path(_GENERAL_SCENARIO))
    singular, plural = proposed.noun or _ANY_NOUN
    tree = {
        "name": scenario_name(description),
        "noun": {"singular": singular, "plural": plural},
        "factors": {"item": list(proposed.item), "user": list(proposed.user)},
        "title_display": ["{title}"],
        "templates": general.templates.model_dump(),
        "links": LinksQuestion().model_dump(),
    }
    shown = sanitise_text(description, _SHOWN_VALUE_CHARACTERS, quoted=False)
    remarks = (
        f"Scenario: {shown}",
        f"Factors proposed by {proposed_by}. An LLM's first idea, to be edited: strike factors "
        "that no title tells, that mean the same, or that only the platform knows; then adapt the "
        "noun and the templates. Name this file as prompts.scenario.",
    )
    lines = [
        line
        for remark in remarks
        for line in textwrap.wrap(remark, _WIDTH, initial_indent="# ", subsequent_indent="# ")
    ]
    body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=_WIDTH)
    with replaced_when_complete(path) as partial:
        partial.write_text("\n".join([*lines, body]), encoding="utf-8")
        load_prompt_scenario(partial)


_SOURCE = "factors"
_PROMPTS = "prompts.jsonl"


def proposal_prompt(description: str | None) -> str:
    """The prompt about a scenario.

    Raises:
      ConfigurationError: there is no description.
    """
    try:
        return factor_proposal_prompt(description or "")
    except ValueError as error:
        raise ConfigurationError(
            f"{error}; give --scenario-text, e.g. --scenario-text 'short news videos for commuters'"
        ) from error


def propose_factors(
    settings: Generation, description: str | None, folder: Path, out: Path | None, force: bool
) -> dict[str, Any]:
    """Asks for factors and writes a scenario for an expert to edit.

    The answer goes through the answer store like any other: asking again with the same LLM and
    parameters costs nothing.

    Args:
      settings: the section `generation`.
      description: what is recommended to whom.
      folder: for the prompt, the answer and the answer store.
      out: the scenario's YAML file; in the folder if None.
      force: replace an existing file.

    Returns:
      The JSON result: file, factors, tokens and cost.

    Raises:
      ConfigurationError: the settings name a client that does not answer at once.
      CommandError: the file exists, the LLM gave no answer, or none that can be understood.
    """
    prompt = proposal_prompt(description)
    text = str(description)
    if settings.client not in ("openai", "gguf"):
        raise ConfigurationError(
            f"generation.client: '{settings.client}' answers nothing new; --propose-factors needs "
            "openai or gguf, or --dry-run, which prints the prompt"
        )
    out = out or folder / f"{scenario_name(text)}.yaml"
    if out.exists() and not force:
        raise CommandError(
            f"{out}: exists, perhaps edited by an expert; name another --out or add --force"
        )
    summary, answer = _ask(settings, prompt, scenario_name(text), folder)
    factors = parse_factors(answer)
    write_scenario_file(out, text, factors, str(summary["model"]))
    for entity, names in (("item", factors.item), ("user", factors.user)):
        say(f"{entity}: {', '.join(names)}")
    say(f"prompts: factors for an expert to edit: {out}; then set prompts.scenario={out}")
    return {
        "step": "prompts",
        "output": str(out),
        "factors": {"item": list(factors.item), "user": list(factors.user)},
        "prompt": prompt,
        "prompt_sha256": prompt_sha256(prompt),
        **{key: summary[key] for key in ("model", "calls", "tokens", "cost_usd")},
    }


def _ask(settings: Generation, prompt: str, name: str, folder: Path) -> tuple[dict[str, Any], str]:
    """The summary of the run and the LLM's answer."""
    record = {
        "custom_id": custom_id(_SOURCE, INDIVIDUAL, name),
        "source": _SOURCE,
        "entity_id": name,
        "extraction": INDIVIDUAL,
        "prompt": prompt,
    }
    prompts = folder / _PROMPTS
    with replaced_when_complete(prompts) as partial:
        partial.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    free_text = settings.model_copy(update={"json_schema": None})
    try:
        summary = GenerateStep(free_text, str(prompts), folder).run(strict=False)
    except CommandError as error:
        # Its result is the summary of `generate`, and this is another command.
        raise CommandError(str(error)) from error
    output = OutputFolder(folder)
    with output.answers.open(encoding="utf-8") as file:
        answer = file.readline()
    if not answer:
        reason = ", ".join(summary["rejected_by_reason"]) or str(summary["stopped"])
        raise CommandError(f"the LLM gave no answer ({reason}); see {output.dead_letters}")
    return summary, json.loads(answer)["answer"]
