"""The step `prompts`: which prompts are made, how they are rendered, and what they would cost."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.command_line import CommandError, say
from configs.data import Data, Split
from configs.files import replaced_when_complete
from configs.knowledge import SourceAnswers
from configs.loading import ConfigurationError
from configs.prompting import Prompts
from configs.scenario import Scenario
from preprocessing.answers.record import chosen_sources, sources_of
from preprocessing.dead_letters import DeadLetterRuns, count_by_reason
from preprocessing.grouping.groups_file import open_groups
from preprocessing.grouping.plan import Kind, groups_file_of, kind_of_groups
from preprocessing.grouping.step import groups_at_hand
from preprocessing.inputs import LONGEST_LINE, input_checksums
from preprocessing.interactions.catalogue import open_catalogue, open_profiles
from preprocessing.interactions.first_interactions import FirstInteractions, InteractionShards
from preprocessing.interactions.reading import open_interactions
from preprocessing.prompt_templates import (
    PromptScenario,
    Template,
    TitleDisplay,
    load_prompt_scenario,
    prompt_scenario_path,
)
from preprocessing.prompting.questions import Question, questions_of
from preprocessing.prompting.reading import (
    Scratch,
    profile_sentence,
    read_groups,
    read_items,
    read_profiles,
)
from preprocessing.prompting.rendering import (
    CUSTOM_IDS,
    PROMPTS,
    CollectiveSource,
    PromptFile,
    UserPrompts,
    open_prompt_file,
    write_item_prompts,
)
from preprocessing.prompting.token_costs import (
    Prices,
    PromptCount,
    collective_saving,
    cost_rows,
    cost_table,
)
from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL
from preprocessing.records.forgotten import NOTHING_FORGOTTEN, Forgotten
from preprocessing.records.layout import StepDirectory
from preprocessing.steps import Step, StepRun, refuse_rejected
from preprocessing.tables.blocks import expand_paths
from preprocessing.tables.table_reader import TableReader


@dataclass(frozen=True)
class PromptPlan:
    """What to ask.

    Attributes:
      data: configuration of the data.
      split: configuration of the split; the LLM sees at most its `knowledge_history_cap` first
        interactions of a user.
      prompts: configuration of the prompts.
      scenario: factors and templates.
      scenario_path: the file they are from.
      answers: the sources by the name under which they are asked about.
      questions: what is asked of them.
      kinds: what the groups of each source with collective answers are made of.
      groups: the groups file of each source with groups, made already or not.
    """

    data: Data
    split: Split
    prompts: Prompts
    scenario: PromptScenario
    scenario_path: Path
    answers: dict[str, SourceAnswers]
    questions: tuple[Question, ...]
    kinds: dict[str, Kind]
    groups: dict[str, str]

    def individual(self, entity: str) -> list[Question]:
        """What is asked about each item, or each user."""
        return [
            question
            for question in self.questions
            if (question.entity, question.extraction) == (entity, INDIVIDUAL)
        ]

    @property
    def collective(self) -> dict[str, Question]:
        """Source -> what is asked about its groups."""
        return {
            question.source: question
            for question in self.questions
            if question.extraction == COLLECTIVE
        }

    @property
    def settings(self) -> dict[str, object]:
        """What the prompts depend on beside the input files; what they cost depends on more."""
        return {
            "data": self.data,
            "knowledge_history_cap": self.split.knowledge_history_cap,
            "prompts": self.prompts.model_copy(
                update={
                    "expected_answer_tokens": Prompts().expected_answer_tokens,
                    "expected_name_tokens": Prompts().expected_name_tokens,
                    "scenario": str(self.scenario_path.name),
                }
            ),
            "answers": {
                source: described.model_dump(mode="json", exclude={"links"})
                for source, described in self.answers.items()
            },
            "questions": [question.settings for question in self.questions],
        }

    @property
    def shows_profiles(self) -> bool:
        """True when prompts about users have a sentence about the user."""
        return self.prompts.profile_sentence is not None

    @property
    def input_files(self) -> dict[str, str]:
        """Input file -> configuration key that names it.

        Raises:
          ConfigurationError: a path or pattern means no file.
        """
        tables = {
            "data.catalogue.path": self.data.catalogue,
            "data.interactions.path": self.data.interactions,
        }
        if self.shows_profiles and self.data.profiles:
            tables["data.profiles.path"] = self.data.profiles
        files = {str(self.scenario_path): "prompts.scenario"}
        for key, table in tables.items():
            files |= dict.fromkeys(expand_paths(table.paths, key), key)
        for source in self.collective:
            files[self.groups[source]] = f"knowledge.answers.{source}.groups"
        return files


def plan_prompts(scenario: Scenario, sources: Sequence[str] | None) -> PromptPlan:
    """Decides what to ask.

    Args:
      scenario: the scenario.
      sources: names of `knowledge.answers`; None takes all.

    Raises:
      ConfigurationError: there is no source, one is unknown or its user groups have no kind, or
        the prompt scenario is missing or wrong.
    """
    if not scenario.knowledge.answers:
        raise ConfigurationError(
            "knowledge.answers describes no source to ask an LLM about; add one, for example "
            "knowledge: {answers: {item: {entity: item, individual: [answers.jsonl]}}}, the file "
            "that its answers will be in"
        )
    answers = chosen_sources(scenario.knowledge.answers, sources or None)
    path = prompt_scenario_path(scenario.prompts.scenario)
    prompt_scenario = load_prompt_scenario(path)
    kinds: dict[str, Kind] = {}
    questions: list[Question] = []
    for source in answers:
        together = sources_of(scenario.knowledge.answers, source)
        if any(described.collective for described in together.values()):
            kinds[source] = kind_of_groups(source, answers[source], scenario.prompts)
        questions += questions_of(source, together, prompt_scenario, kinds.get(source))
    groups = {
        source: groups_file_of(scenario, source, described) for source, described in answers.items()
    }
    return PromptPlan(
        data=scenario.data,
        split=scenario.split,
        prompts=scenario.prompts,
        scenario=prompt_scenario,
        scenario_path=path,
        answers=answers,
        questions=tuple(questions),
        kinds=kinds,
        groups={source: path for source, path in groups.items() if path is not None},
    )


class PromptRenderer:
    """Checks the input files' columns when it is made, and renders when it is told to."""

    def __init__(self, plan: PromptPlan, forgotten: Forgotten = NOTHING_FORGOTTEN):
        """Reads the headers.

        Args:
          plan: what to ask.
          forgotten: users and items that no prompt is about or shows.

        Raises:
          ConfigurationError: a column or placeholder does not exist.
        """
        self._plan = plan
        data = plan.data
        self._catalogue = open_catalogue(data.catalogue).without(forgotten)
        self._interactions = open_interactions(data, plan.split).without(forgotten)
        self._groups = {
            source: open_groups(
                plan.groups[source],
                plan.answers[source].entity,
                f"knowledge.answers.{source}.groups",
            ).without(forgotten)
            for source in plan.collective
        }
        self._sentence: Template | None = None
        if plan.prompts.profile_sentence is not None:
            self._sentence = profile_sentence(plan.prompts.profile_sentence, data.profiles)
        self._profiles: TableReader | None = None
        if self._sentence and data.profiles:
            self._profiles = open_profiles(data.profiles).without(forgotten)

    def render(self, folder: Path) -> dict[str, Any]:
        """Writes prompts, the table of pseudonyms, changed groups and dead letters.

        Args:
          folder: an empty folder.

        Returns:
          What the manifest says: `sources` (what became of each entity and group), `written`
          (prompts and tokens by source and extraction), `inputs_read` (records of each input
          file), `rejected` (dead letters by reason).
        """
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch_folder,
            Scratch(Path(scratch_folder) / "scratch.sqlite") as scratch,
            open_prompt_file(folder, scratch, self._plan.prompts.pseudonymous_custom_ids) as file,
        ):
            rejected = DeadLetterRuns(Path(scratch_folder) / "dead_letters")
            read = self._read_lookups(scratch, rejected)
            shards = None
            if self._needs_log:
                shards = InteractionShards(
                    self._plan.data, self._interactions, Path(scratch_folder), rejected
                )
                read[_named(self._interactions)] = shards.records
            kept_items = shards.kept_items if shards else None
            sources = self._ask_about_items(scratch, file, kept_items, rejected)
            groups = {
                source: self._collective(source, scratch, kept_items)
                for source in self._plan.collective
            }
            if shards is not None:
                self._ask_about_users(scratch, file, shards, groups, sources)
            for source, group in groups.items():
                sources.setdefault(source, {})["collective"] = group.write(file, folder)
            written = [asdict(count) for count in file.counts()]
            letters = StepDirectory(folder).dead_letters
            rejected.write(letters)
        return {
            "sources": sources,
            "written": written,
            "inputs_read": read,
            "rejected": count_by_reason(letters),
        }

    def _read_lookups(self, scratch: Scratch, rejected: DeadLetterRuns) -> dict[str, int]:
        plan, read = self._plan, {}
        display = TitleDisplay(plan.scenario, plan.data.catalogue.attributes, plan.prompts)
        letters, records = read_items(plan.data.catalogue, self._catalogue, display, scratch)
        rejected.add(letters)
        read[_named(self._catalogue)] = records
        for source, reader in self._groups.items():
            letters, records = read_groups(source, plan.answers[source].entity, reader, scratch)
            rejected.add(letters)
            read[_named(reader)] = records
        if plan.data.profiles and self._profiles and self._sentence:
            letters, records = read_profiles(
                plan.data.profiles, self._profiles, self._sentence, scratch
            )
            rejected.add(letters)
            read[_named(self._profiles)] = records
        return read

    @property
    def _needs_log(self) -> bool:
        """True when prompts depend on interactions, be it only on which items are left."""
        plan = self._plan
        filters_items = plan.data.filter.minimum_item_interactions > 1
        described = [not question.lists_members for question in plan.collective.values()]
        return bool(plan.individual("user") or any(described)) or filters_items

    def _ask_about_items(
        self,
        scratch: Scratch,
        file: PromptFile,
        kept_items: list[str] | None,
        rejected: DeadLetterRuns,
    ) -> dict[str, dict[str, Any]]:
        sources = {}
        for question in self._plan.individual("item"):
            counts, letters = write_item_prompts(
                question, scratch, file, self._catalogue.names, kept_items
            )
            rejected.add(letters)
            sources[question.source] = {"individual": counts}
        return sources

    def _collective(
        self, source: str, scratch: Scratch, kept_items: list[str] | None
    ) -> CollectiveSource:
        plan = self._plan
        question, kind = plan.collective[source], plan.kinds[source]
        return CollectiveSource(question, kind, plan.prompts, scratch, kept_items)

    def _ask_about_users(
        self,
        scratch: Scratch,
        file: PromptFile,
        shards: InteractionShards,
        groups: Mapping[str, CollectiveSource],
        sources: dict[str, dict[str, Any]],
    ) -> None:
        plan = self._plan
        rated = plan.data.interactions.columns.rating is not None
        asking = UserPrompts(plan.individual("user"), plan.scenario.templates, rated)
        for seen in shards.first_interactions(plan.split.knowledge_history_cap):
            codes, titles = _items_of_rows(seen, scratch)
            if plan.individual("user"):
                asking.write(seen, titles, scratch.profiles(seen.users), file)
            for group in groups.values():
                group.add(seen, codes, seen.liked)
        for question in plan.individual("user"):
            sources.setdefault(question.source, {})["individual"] = dict(asking.counts)


def _named(reader: TableReader) -> str:
    """What a table is called in counts: its file, or the first one and how many there are."""
    first, *others = reader.names
    return f"{first} and {len(others)} more" if others else first


def _items_of_rows(seen: FirstInteractions, scratch: Scratch) -> tuple[np.ndarray, list[str]]:
    """[rows] code (-1 for an item without title) and title of each interaction's item."""
    codes = scratch.codes(seen.items)
    titles = scratch.titles(np.unique(codes[codes >= 0]).tolist())
    shown = [titles.get(code, "") for code in codes.tolist()]
    untitled = np.array([not title for title in shown], dtype=bool)
    return np.where(untitled, -1, codes), shown


_SHOWN_MERGES = 5


def build_prompts(
    scenario: Scenario,
    *,
    sources: Sequence[str] | None = None,
    out: Path | None = None,
    prices: Prices | None = None,
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Writes `prompts/` of the work directory.

    Groups that are made here (`grouping`) are made first, unless they are finished.

    Args:
      scenario: the scenario.
      sources: names of `knowledge.answers`; None takes all.
      out: a file that gets a copy of the prompts; the table of pseudonyms and changed groups files
        are copied beside it.
      prices: what tokens cost; None takes the prices of the section `generation`.
      strict: raise RejectedInput when records were rejected.
      force: render even if a finished result is there.
      dry_run: count and price only; nothing is left behind.

    Returns:
      Counts for programs: `costs` has a row for each source and extraction and the total,
      `calls` compares collective with individual extraction, `sources` says what became of every
      item, user and group.

    Raises:
      ConfigurationError: a source, file, column or placeholder does not exist.
      CommandError: an input file is cut off, or `out` is a folder or a file of something else.
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    if out is not None:
        _require_place(out)
    directory = StepDirectory(Path(scenario.work_dir) / "prompts")
    if prices is None:
        prices = Prices(scenario.generation.price_input, scenario.generation.price_output)
    collective = list(plan_prompts(scenario, sources).collective)
    with groups_at_hand(scenario, collective, dry_run) as grouped:
        plan = plan_prompts(grouped, sources)
        inputs = input_checksums(plan.input_files)
        forgotten = Forgotten.of(scenario.work_dir)
        renderer = PromptRenderer(plan, forgotten)

        def report(run: StepRun) -> dict[str, Any]:
            result = _result(plan, run.manifest, prices)
            _warn_of_long_answers(run.manifest, plan.prompts, scenario.generation.max_tokens)
            result["output"] = str(directory.path / PROMPTS)
            if dry_run:
                result["dry_run"] = True
            elif out is not None:
                _copy(directory.path, out)
                result["output"] = str(out)
            _tell(result, run)
            return result

        step = Step(
            name="prompts",
            directory=directory,
            settings=plan.settings,
            inputs=inputs,
            forgotten=forgotten,
            build=renderer.render,
            report=report,
        )
        if dry_run:
            finished = None if force else step.finished()
            described = finished or _rendered_for_nobody(renderer)
            seconds = time.monotonic() - start
            result = report(StepRun(described, seconds, finished is not None))
            return result | {"would_skip": finished is not None, "seconds": round(seconds, 3)}
        result = step.run(force, start)
    if strict:
        refuse_rejected([directory], result)
    return result


def _rendered_for_nobody(renderer: PromptRenderer) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder) / "prompts"
        inside.mkdir()
        return renderer.render(inside)


def _result(plan: PromptPlan, described: Mapping[str, Any], prices: Prices) -> dict[str, Any]:
    counts = [PromptCount(**written) for written in described["written"]]
    rows = cost_rows(counts, plan.prompts, prices)
    rejected: Mapping[str, Mapping[str, int]] = described["rejected"]
    return {
        "step": "prompts",
        "scenario": plan.scenario.name,
        "prompts": sum(count.prompts for count in counts),
        "costs": rows,
        "calls": collective_saving(counts),
        "sources": described["sources"],
        "inputs_read": described["inputs_read"],
        "dead_letters": sum(sum(reasons.values()) for reasons in rejected.values()),
        "rejected_by_reason": rejected,
    }


def _warn_of_long_answers(described: Mapping[str, Any], prompts: Prompts, limit: int) -> None:
    for written in described["written"]:
        longest = PromptCount(**written).longest_answer(prompts)
        if longest > limit and written["names"]:
            smaller = "smaller groups" if written["extraction"] == COLLECTIVE else "fewer names"
            say(
                f"warning: {written['source']}, {written['extraction']}: an answer may take "
                f"{longest:,} tokens, and generation.max_tokens is {limit:,}: raise it, or ask for "
                f"{smaller}"
            )


def _tell(result: Mapping[str, Any], run: StepRun) -> None:
    say(cost_table(result["costs"], result["calls"]))
    for source, counts in result["sources"].items():
        for line in _remarks(source, counts):
            say(line)
    if "dry_run" in result:
        say(f"prompts: {result['prompts']:,} would be written to {result['output']}")
        return
    work = "unchanged, skipped" if run.skipped else f"written in {run.seconds:.1f} s"
    say(
        f"prompts: {result['prompts']:,} prompts, {result['dead_letters']:,} rejected records, "
        f"{work}: {result['output']}"
    )


def _remarks(source: str, counts: Mapping[str, Any]) -> list[str]:
    lines = []
    individual = counts.get("individual", {})
    for reason in ("filtered_out", "without_title", "without_history", "without_titles"):
        if individual.get(reason):
            entities = "items" if "items" in individual else "users"
            lines.append(
                f"{source}: no prompt for {individual[reason]:,} {entities} "
                f"{reason.replace('_', ' ')}"
            )
    collective = counts.get("collective", {})
    merged = collective.get("merged", [])
    if merged:
        pairs = [f"{merge['group']} into {merge['into']}" for merge in merged]
        more = f" and {len(merged) - _SHOWN_MERGES} more" if len(merged) > _SHOWN_MERGES else ""
        lines.append(
            f"{source}: merged small or empty groups {', '.join(pairs[:_SHOWN_MERGES])}{more}; "
            f"groups_{source}.csv has the groups that fit the prompts"
        )
    if collective.get("suppressed"):
        lines.append(
            f"{source}: all groups together are too small (prompts.minimum_group_users): no prompt"
        )
    return lines


def _require_place(out: Path) -> None:
    """Raises CommandError if prompts cannot be copied to `out`, or would replace something else."""
    if out.is_dir():
        raise CommandError(f"--out {out}: is a folder; name a file, e.g. {out / PROMPTS}")
    if not out.is_file() or not out.stat().st_size:
        return
    with out.open("rb") as file:
        line = file.readline(LONGEST_LINE)
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or "prompt_sha256" not in record or "answer" in record:
        raise CommandError(
            f"--out {out}: holds something else than prompts, which would be replaced; name "
            "another file, or remove it first"
        )


def _copy(folder: Path, out: Path) -> None:
    """Copies prompts to `out` and what belongs to them beside it, each file in one move."""
    copies = {folder / PROMPTS: out}
    for path in (folder / CUSTOM_IDS, *sorted(folder.glob("groups_*.csv"))):
        copies[path] = out.with_name(f"{out.stem}.{path.name}")
    for source, target in copies.items():
        with replaced_when_complete(target) as partial:
            shutil.copy(source, partial)
