"""Answer files to entries, checked as `preprocessing import` checks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from configs.knowledge import SourceAnswers
from configs.loading import ConfigurationError
from preprocessing.importing.examining import choose_formats, examine
from preprocessing.importing.foreign_record import Expected
from preprocessing.inputs import fingerprint_inputs
from preprocessing.knowledge.answer_texts import AnswerTexts, answer_texts
from preprocessing.knowledge.answers import Answer, RejectedAnswer
from preprocessing.quality.thresholds import Thresholds
from preprocessing.records.contract import COLLECTIVE
from serving.refresh.description import RefreshDescription, SourceDescription
from serving.refresh.incoming import Entry, RecordPlace, Records


@dataclass(frozen=True)
class AnswerFiles:
    """Answer files and how they are read; see `preprocessing.importing.answer_import`.

    Attributes:
      paths: the files.
      format_name: name of a format, or "auto".
      extraction: "individual" or "collective"; None for what a record says.
      thresholds: when an answer counts as bad.
    """

    paths: Sequence[str] = ()
    format_name: str = "auto"
    extraction: str | None = None
    thresholds: Thresholds = Thresholds()


def check_source(description: RefreshDescription, source: str, version: str) -> None:
    """Makes sure that the model reads a source and that it may change.

    Args:
      description: of the version.
      source: the value of `--source`, as records name it.
      version: path of the version, for people.

    Raises:
      ConfigurationError: it does not, or its vectors are not made from what anybody wrote.
    """
    known = _sources_by_record(description)
    if source not in known:
        names = ", ".join(sorted(known)) or "none"
        raise ConfigurationError(
            f"--source: the model in {version} reads no source '{source}' (it reads: {names})"
        )
    for name in known[source]:
        made_from = description.sources[name].made_from
        if not description.sources[name].takes_vectors:
            raise ConfigurationError(
                f"--source: the vectors of '{name}' are {made_from}, and no answer changes them; "
                "train again for new ones"
            )


def read_answers(
    files: AnswerFiles, source: str | None, description: RefreshDescription, records: Records
) -> None:
    """Adds the records of answer files.

    Args:
      files: the files.
      source: the source of answers whose files name none; None where records name it.
      description: of the version.
      records: gets the entries and rejections.

    Raises:
      ConfigurationError: a file does not exist.
      CommandError: a file cannot be read as its format at all.
    """
    fingerprint_inputs({path: "--answers" for path in files.paths})
    formats = choose_formats(files.paths, files.format_name)
    known = _sources_by_record(description)
    texts = {
        name: _texts_of(name, described, description)
        for name, described in description.sources.items()
    }
    expected = Expected(source, files.extraction)
    for examined in examine(files.paths, formats, expected, files.thresholds):
        place = RecordPlace(*examined.place)
        records.places.append(place)
        outcome = examined.outcome
        if isinstance(outcome, RejectedAnswer):
            records.reject(place, outcome.reason, outcome.detail)
            continue
        if outcome.source not in known:
            names = ", ".join(sorted(known)) or "none"
            detail = f"'{outcome.source}'; there are: {names}; --source names that of a file"
            records.reject(place, "unknown_source", detail)
            continue
        for name in known[outcome.source]:
            _add_answer(records, place, name, description.sources[name], texts[name], outcome)


def _add_answer(
    records: Records,
    place: RecordPlace,
    source: str,
    described: SourceDescription,
    texts: AnswerTexts,
    answer: Answer,
) -> None:
    if not described.takes_answers:
        detail = f"the vectors of '{source}' are made from {described.made_from}; see --vectors"
        records.reject(place, "vectors_only", detail)
        return
    try:
        text, _ = texts.text_of(answer.record(), answer)
    except RejectedAnswer as rejection:
        records.reject(place, rejection.reason, rejection.detail)
        return
    collective = answer.extraction == COLLECTIVE
    records.entries.append(Entry(place, source, collective, answer.entity_id, text=text))


def _sources_by_record(description: RefreshDescription) -> Mapping[str, list[str]]:
    """What records call their source -> sources of the model that are made from them."""
    found: dict[str, list[str]] = {}
    for name, described in description.sources.items():
        recorded = _texts_of(name, described, description).source
        found.setdefault(recorded, []).append(name)
        if recorded != name:
            found.setdefault(name, []).append(name)
    return found


def _texts_of(
    source: str, described: SourceDescription, description: RefreshDescription
) -> AnswerTexts:
    answers = SourceAnswers.model_construct(
        entity=described.entity,
        factor=described.factor,
        history_entry_pattern=described.history_entry_pattern,
    )
    return answer_texts(source, answers, description.encoder)
