"""The step `link`: names in LLM answers to items of the catalogue."""

from __future__ import annotations

import functools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from configs.command_line import CommandError, say
from configs.data import CatalogueTable
from configs.effects import without
from configs.knowledge import Links, SourceAnswers
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.answers.checks import Duplicates
from preprocessing.answers.names import LINKS, NameLists, lists_for_links
from preprocessing.answers.reading import AnswerFile, SourceReader, answer_files
from preprocessing.answers.record import (
    Answer,
    RejectedAnswer,
    factor_text,
    meaning_of,
    numbered_lines,
    other_sources,
)
from preprocessing.dead_letters import (
    DeadLetter,
    DeadLetterRuns,
    count_by_reason,
    dead_letter,
)
from preprocessing.inputs import input_checksums
from preprocessing.interactions.catalogue import (
    ITEM_ID,
    TITLE,
    open_catalogue,
    read_items,
)
from preprocessing.interactions.reading import rows_by_id
from preprocessing.links.linking import (
    DROPPED,
    LINKS_FILE,
    TITLES_FILE,
    NamesOfAnswers,
    TitleCatalogue,
    joined_tables,
    link_names,
    review_rows,
    summarise,
    write_parquet,
)
from preprocessing.links.mining import TitleMentions
from preprocessing.links.titles import known_years
from preprocessing.records.contract import INDIVIDUAL
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import StepDirectory, WorkDirectory, settings_of_records
from preprocessing.steps import Step, StepRun, refuse_rejected, run_sources
from preprocessing.tables.blocks import expand_paths

_OF_VECTORS = ("dimension", "damping", "smoothness")
"""Options of `Links` that make other vectors and no other links."""

REVIEW_FILE = "review.csv"
_YEAR = "year"
_MOST_SHOWN = 3

Content = TypeVar("Content")


def link(
    scenario: Scenario,
    *,
    sources: Sequence[str] | None = None,
    mine: Sequence[str] = (),
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Writes `links/<source>/` of the work directory.

    Args:
      scenario: the scenario.
      sources: names of sources with `links`; None takes all of them, or none beside `mine`.
      mine: sources of prose whose answers are searched for titles, each into a folder of its own.
      strict: raise RejectedInput when answers or names were rejected.
      force: link even if a finished result is there.
      dry_run: only say what would be done.

    Returns:
      Counts for programs under `sources` for each, see `linking.summarise`; and of the answers,
      `answers_read` = `answers` + `other_sources` + those among the dead letters.

    Raises:
      ConfigurationError: a source is unknown, holds no names, or cannot be mined; or a file or a
        column does not exist.
      CommandError: an input file is cut off, no item has a title, a source has no usable answer,
        or none of its names is an item of the catalogue.
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    steps = _steps(scenario, plan_links(scenario, sources, tuple(mine)))
    if dry_run:
        described = [step.dry_run(force) for step in steps.values()]
        return {"step": "link", "dry_run": True, "sources": described}
    result = run_sources("link", steps, force, start)
    if strict:
        refuse_rejected([step.directory for step in steps.values()], result)
    return result


def unfinished_links(scenario: Scenario, sources: Sequence[str]) -> list[str]:
    """Those of the sources whose names would have to be linked."""
    chosen = with_links(scenario, sources)
    steps = _steps(scenario, plan_links(scenario, chosen, ())) if chosen else {}
    return [source for source, step in steps.items() if step.finished() is None]


def with_links(scenario: Scenario, sources: Sequence[str]) -> list[str]:
    """Those of the sources whose answers list names."""
    return [name for name in sources if scenario.knowledge.answers[name].links is not None]


@dataclass(frozen=True)
class LinkPlan:
    """What the links of one source are made from.

    Attributes:
      source: its name.
      settings: how names are found.
      listed: the source whose answers list names; None if there is none.
      mined: sources whose answers are searched for titles.
      year: attribute with the year of an item; None if titles hold it.
    """

    source: str
    settings: Links
    listed: str | None
    mined: tuple[str, ...]
    year: str | None


def plan_links(
    scenario: Scenario, sources: Sequence[str] | None, mine: tuple[str, ...]
) -> list[LinkPlan]:
    """Decides what is linked; see `link`.

    Raises:
      ConfigurationError: see `link`.
    """
    answers = scenario.knowledge.answers
    with_links = [name for name, described in answers.items() if described.links is not None]
    chosen = list(dict.fromkeys(sources if sources is not None else () if mine else with_links))
    for source in (*chosen, *mine):
        if source not in answers:
            raise ConfigurationError(
                f"there is no source '{source}' in knowledge.answers (there: {', '.join(answers)})"
            )
    plans = []
    for source in chosen:
        described = answers[source]
        if described.links is None:
            raise ConfigurationError(
                f"knowledge.answers.{source}: has no 'links', so its answers are not read as lists "
                f"of names; set knowledge.answers.{source}.links={{}}, or search its prose for "
                f"titles by --mine {source}"
            )
        listed = source if described.individual or described.collective else None
        plans.append((source, described.links, listed, described.links.mine))
    for source in dict.fromkeys(mine):
        if not answers[source].is_prose_about_items:
            raise ConfigurationError(
                f"--mine {source}: needs an item source with 'individual' answers in prose"
            )
        plans.append((source, Links(), None, (source,)))
    if not plans:
        raise ConfigurationError(
            "no source of knowledge.answers has 'links', lists of names as answers; describe one, "
            "or search prose for titles by --mine SOURCE"
        )
    return [_with_year(scenario, *plan) for plan in plans]


def _with_year(
    scenario: Scenario, source: str, settings: Links, listed: str | None, mined: tuple[str, ...]
) -> LinkPlan:
    attributes = scenario.data.catalogue.attributes
    year = settings.year if settings.year is not None else _YEAR
    if settings.year is not None and settings.year not in attributes:
        raise ConfigurationError(
            f"knowledge.answers.{source}.links.year: there is no attribute '{settings.year}' in "
            f"data.catalogue.attributes (there: {', '.join(attributes)})"
        )
    if settings.year is not None and attributes[year].kind != "numeric":
        raise ConfigurationError(
            f"knowledge.answers.{source}.links.year: attribute '{year}' must be of kind numeric"
        )
    numeric = year in attributes and attributes[year].kind == "numeric"
    return LinkPlan(source, settings, listed, mined, year if numeric else None)


def _steps(scenario: Scenario, plans: Sequence[LinkPlan]) -> dict[str, Step]:
    return {plan.source: _step(scenario, plan) for plan in plans}


def _step(scenario: Scenario, plan: LinkPlan) -> Step:
    answers = scenario.knowledge.answers
    catalogue = _catalogue_table(scenario, plan)
    key, log = "data.catalogue.path", "data.interactions.path"
    files = dict.fromkeys(expand_paths(catalogue.paths, key), key)
    for source in _answer_sources(plan):
        for file in _answer_files(plan, source, answers[source]):
            files[file.name] = f"knowledge.answers.{source}.{file.extraction}"
    try:
        files |= dict.fromkeys(expand_paths(scenario.data.interactions.paths, log), log)
        has_log = True
    except ConfigurationError as error:
        say(f"link {plan.source}: coverage is not told by popularity: {error}")
        has_log = False
    return Step(
        name=f"link {plan.source}",
        directory=WorkDirectory(scenario.work_dir).links(plan.source),
        settings={
            "plan": [plan.listed, plan.mined, plan.year],
            "links": without(settings_of_records(plan.settings), _OF_VECTORS),
            "answers": [
                without(
                    settings_of_records(answers[source]), [f"links.{name}" for name in _OF_VECTORS]
                )
                for source in _answer_sources(plan)
            ],
            "other_sources": [
                sorted(other_sources(answers, source)) for source in _answer_sources(plan)
            ],
            "catalogue": catalogue,
            "interactions": scenario.data.interactions if has_log else None,
        },
        inputs=input_checksums(files),
        forgotten=Forgotten.of(scenario.work_dir),
        build=functools.partial(_build, scenario, plan, has_log),
        report=functools.partial(_report, plan),
    )


def _answer_sources(plan: LinkPlan) -> list[str]:
    return [*([plan.listed] if plan.listed is not None else []), *plan.mined]


def _answer_files(plan: LinkPlan, source: str, described: SourceAnswers) -> list[AnswerFile]:
    """The files that are read of a source; of one that is mined, those of single answers."""
    return [
        file
        for file in answer_files(described)
        if file.extraction == INDIVIDUAL or source == plan.listed
    ]


def _catalogue_table(scenario: Scenario, plan: LinkPlan) -> CatalogueTable:
    """The catalogue with the year alone of its attributes."""
    catalogue = scenario.data.catalogue
    attributes = {} if plan.year is None else {plan.year: catalogue.attributes[plan.year]}
    return catalogue.model_copy(update={"attributes": attributes})


def _build(scenario: Scenario, plan: LinkPlan, has_log: bool, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch:
        letters = DeadLetterRuns(scratch)
        catalogue, records = _read_catalogue(scenario, plan, letters)
        answers = _Answers(scenario, plan, letters)
        tables = []
        if plan.listed is not None:
            listed = answers.listed_names(plan.listed)
            tables.append(link_names(listed, catalogue, plan.settings))
            letters.add(_dropped_names(listed, tables[0]))
        for source in plan.mined:
            mentions = answers.mentions(source, catalogue)
            tables.append(link_names(mentions, catalogue, plan.settings, mined=True))
        letters.write(StepDirectory(folder).dead_letters)
    counts, rejected = answers.counts, count_by_reason(StepDirectory(folder).dead_letters)
    table = joined_tables(tables)
    popularity = None
    if has_log:
        forgotten = Forgotten.of(scenario.work_dir)
        popularity = rows_by_id(scenario.data.interactions, forgotten)["item"]
    _require_links(plan, table, counts, rejected, catalogue)
    _require_known_items(plan, table, catalogue, popularity)
    write_parquet(table, folder / LINKS_FILE)
    catalogue.write(folder / TITLES_FILE)
    pyarrow.csv.write_csv(review_rows(table, catalogue), folder / REVIEW_FILE)
    return {
        "counts": {
            "answers_read": counts["read"],
            "answers": counts["accepted"],
            "other_sources": counts["other_sources"],
            **summarise(table, catalogue, popularity),
        },
        "rejected": rejected,
        "records_read": {"catalogue": records},
    }


def _read_catalogue(
    scenario: Scenario, plan: LinkPlan, letters: DeadLetterRuns
) -> tuple[TitleCatalogue, int]:
    """The catalogue, and the number of records read.

    Raises:
      CommandError: no item has a title.
    """
    described = _catalogue_table(scenario, plan)
    reader = open_catalogue(described).without(Forgotten.of(scenario.work_dir))
    items, records = read_items(reader, described, letters)
    table = items.table.combine_chunks()
    titles = pc.fill_null(table[TITLE].combine_chunks(), "")
    if not pc.any(pc.match_substring_regex(titles, r"[\pL\pN]")).as_py():
        raise CommandError(
            f"data.catalogue.title: none of the {len(titles):,} items of {', '.join(reader.names)} "
            f"has a title in column '{described.title}', and names are found by titles; name the "
            "column that holds them"
        )
    years = None
    if plan.year is not None:
        years = pc.fill_null(table[plan.year].combine_chunks(), np.nan).to_numpy(
            zero_copy_only=False
        )
    ids = table[ITEM_ID].combine_chunks()
    return TitleCatalogue(ids, titles, known_years(titles, years)), records


@dataclass(frozen=True)
class _Answers:
    """The answers of a plan's sources, read once; the first usable one for an entity counts.

    Attributes:
      scenario: describes the sources.
      plan: what is linked.
      letters: takes the answers that are of no use.
      counts: of lines `read`, of those of `other_sources`, and of answers `accepted`.
    """

    scenario: Scenario
    plan: LinkPlan
    letters: DeadLetterRuns
    counts: Counter[str] = field(default_factory=Counter)

    def listed_names(self, source: str) -> NamesOfAnswers:
        """Names by the item or user they are about; the first list of an item counts."""
        described = self.scenario.knowledge.answers[source]
        names = NamesOfAnswers(described.entity)
        answered: set[str] = set()
        forgotten = Forgotten.of(self.scenario.work_dir)

        def read(answer: Answer) -> NameLists:
            return lists_for_links(answer, described.entity, described.factor)

        for answer, answer_lists in self._accepted(source, read):
            by_entity: dict[str, dict[str, Sequence[object]]] = {}
            for listed in answer_lists.lists:
                by_entity.setdefault(listed.entity_id, {})[listed.kind] = listed.names
            rejected = [
                *(("member_left_out", member) for member in answer_lists.left_out),
                *(("unknown_member", key) for key in answer_lists.unknown),
                *(("duplicate_entity", entity) for entity in by_entity if entity in answered),
            ]
            path, line, _ = answer.location
            self.letters.add(
                dead_letter(path, line, reason, repr(what)) for reason, what in rejected
            )
            for entity_id, lists in by_entity.items():
                if entity_id not in answered and not forgotten.has(described.entity, entity_id):
                    names.add(entity_id, answer.location, lists, self.plan.settings.most_names)
            answered.update(by_entity)
        return names

    def mentions(self, source: str, catalogue: TitleCatalogue) -> NamesOfAnswers:
        """Titles that prose mentions, by the item it is about."""
        factor = self.scenario.knowledge.answers[source].factor

        def text_of(answer: Answer) -> str:
            return answer.text if factor is None else factor_text(answer, factor)

        titles = TitleMentions(catalogue.titles)
        mention_names = [
            (answer.entity_id, answer.location, titles.find(text))
            for answer, text in self._accepted(source, text_of)
        ]
        names = NamesOfAnswers()
        for item, location, mentions in mention_names:
            kept = [
                mention
                for mention, is_word in mentions
                if not is_word or titles.is_distinctive(mention)
            ]
            names.add(item, location, {LINKS: kept}, {LINKS: len(kept)})
        return names

    def _accepted(
        self, source: str, read: Callable[[Answer], Content]
    ) -> Iterator[tuple[Answer, Content]]:
        """Answers with what is read in each; `read` raises RejectedAnswer for one of no use."""
        answers = self.scenario.knowledge.answers
        reader = SourceReader.of(answers, source, Forgotten.of(self.scenario.work_dir))
        duplicates = Duplicates()
        for file in _answer_files(self.plan, source, answers[source]):
            for number, line in numbered_lines(file.path):
                self.counts["read"] += 1
                try:
                    answer = reader.answer(line, number, file)
                    if answer is None:
                        self.counts["other_sources"] += 1
                        continue
                    content = read(answer)
                    duplicates.add(answer)
                except RejectedAnswer as error:
                    letter = dead_letter(file.name, number, error.reason, error.detail)
                    self.letters.add([letter])
                    continue
                self.counts["accepted"] += 1
                yield answer, content


def _dropped_names(names: NamesOfAnswers, table: pa.Table) -> Iterator[DeadLetter]:
    """A dead letter for each name of `DROPPED`, with the place of its answer."""
    is_dropped = pc.is_in(table["how"].cast(pa.string()), pa.array(DROPPED))
    rows = np.flatnonzero(is_dropped.to_numpy(zero_copy_only=False))
    dropped = table.take(pa.array(rows))
    for row, how, name in zip(
        rows.tolist(), dropped["how"].to_pylist(), dropped["name"].to_pylist(), strict=True
    ):
        location = names.locations[names.answer[row]]
        yield dead_letter(location.file, location.line, how, repr(name))


def _require_links(
    plan: LinkPlan,
    table: pa.Table,
    counts: Mapping[str, int],
    rejected: Mapping[str, Mapping[str, int]],
    catalogue: TitleCatalogue,
) -> None:
    """Raises CommandError if there is not a single link."""
    if table["linked"].null_count < len(table):
        return
    key = f"knowledge.answers.{plan.source}"
    if not counts["accepted"]:
        reasons = sum(map(Counter, rejected.values()), Counter[str]())
        told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
        raise CommandError(
            f"{key}: there is no usable answer"
            + (f"; rejected: {told}" if told else "")
            + (f"; {counts['other_sources']:,} of other sources" if counts["other_sources"] else "")
        )
    if not len(table):
        raise CommandError(f"{key}: none of the {counts['accepted']:,} answers mentions a title")
    shown = [repr(name) for name in pc.unique(table["name"].combine_chunks()).to_pylist()]
    titles = [repr(title) for title in catalogue.titles.slice(0, _MOST_SHOWN).to_pylist()]
    raise CommandError(
        f"{key}: none of the {len(table):,} names is an item of the catalogue; the answers name "
        f"{', '.join(shown[:_MOST_SHOWN])}, the catalogue has {', '.join(titles)}. Do they belong "
        "together, and does data.catalogue.title name the column of the titles?"
    )


def _require_known_items(
    plan: LinkPlan,
    table: pa.Table,
    catalogue: TitleCatalogue,
    popularity: Mapping[str, int] | None,
) -> None:
    """Raises CommandError if no answer is about an item of the catalogue or of the log.

    Names are found by titles, so that answers with ids of another list would be linked, too.
    """
    if table.column_names[0] != "item":
        return
    answered = pc.unique(table["item"].combine_chunks())
    if pc.any(pc.is_in(answered, value_set=catalogue.ids)).as_py():
        return
    if popularity is not None and any(item in popularity for item in answered.to_pylist()):
        return
    shown, known = (
        ", ".join(repr(item) for item in items.slice(0, _MOST_SHOWN).to_pylist())
        for items in (answered, catalogue.ids)
    )
    raise CommandError(
        f"knowledge.answers.{plan.source}: none of the {len(answered):,} items that answers are "
        f"about is in the catalogue or in the log; the answers have the ids {shown}, the catalogue "
        f"{known}. 'import --ids' gives answers the ids that you have (docs/importing.md)"
    )


def _report(plan: LinkPlan, run: StepRun) -> dict[str, Any]:
    manifest = run.manifest
    counts = manifest["counts"]
    linked = sum(counts["linked"].values())
    line = (
        f"link {plan.source}: {linked:,} of {counts['names']:,} names linked "
        f"({counts['linked_share']:.1%})"
    )
    if run.skipped:
        say(f"link {plan.source}: unchanged, skipped ({linked:,} links)")
    else:
        told = ", ".join(
            f"{count:,} {how.replace('_', ' ')}" for how, count in counts["linked"].items() if count
        )
        left = ", ".join(
            f"{count:,} {how.replace('_', ' ')}"
            for how, count in counts["not_linked"].items()
            if count
        )
        items = counts["items"]
        about = f"{items['catalogue']:,} items"
        if "users" in counts:
            users = counts["users"]
            have = f"{users['with_links']:,} of {users['answered']:,} users have links"
            reached = f"{items['linked_to']:,} of {about} are linked to"
        else:
            have = f"{items['with_links']:,} of {about} have links"
            reached = f"{items['linked_to']:,} are linked to"
        say(
            f"{line}: {told}; not linked: {left or 'none'}; {have}, {reached}; "
            f"in {run.seconds:.1f} s"
        )
    reasons = sum(map(Counter, manifest["rejected"].values()), Counter[str]())
    for reason, count in sorted(reasons.items()):
        meaning = meaning_of(reason)
        say(f"  {count:,} {reason}" + (f": {meaning}" if meaning else ""))
    return {
        "counts": counts,
        "records_read": manifest["records_read"],
        "dead_letters": sum(reasons.values()),
        "rejected_by_reason": manifest["rejected"],
    }
