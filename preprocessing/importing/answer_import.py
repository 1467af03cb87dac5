"""`import`: foreign answers to answer records, dead letters and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from configs.command_line import RejectedInput, say
from preprocessing.dead_letters import dead_letter
from preprocessing.importing.asked_prompts import read_asked_prompts
from preprocessing.importing.examining import choose_formats, examine
from preprocessing.importing.foreign_record import Expected
from preprocessing.importing.id_mapping import IdMapping
from preprocessing.importing.output import ImportFolder, writing
from preprocessing.importing.reporting import FileCounts, summary_lines
from preprocessing.inputs import fingerprint_inputs
from preprocessing.knowledge.answers import Answer
from preprocessing.names import require_plain_name
from preprocessing.quality.summary import QualitySummary
from preprocessing.quality.thresholds import Thresholds


def import_answers(
    paths: Sequence[str],
    source: str,
    out: str | Path,
    *,
    format_name: str = "auto",
    extraction: str | None = None,
    model: str | None = None,
    prompts: Sequence[str] = (),
    ids: str | None = None,
    thresholds: Thresholds | None = None,
    compressed: bool = False,
    strict: bool = False,
) -> dict[str, Any]:
    """Writes answers, dead letters and a summary into a folder.

    Args:
      paths: answer files; the first accepted answer for an entity counts.
      source: the answers' source.
      out: the folder.
      format_name: a name of `formats.FORMATS`, or "auto".
      extraction: "individual" or "collective"; if not given, what the file or its format says.
      model: the LLM, where a file does not say.
      prompts: prompt files that say what a custom id is about; without any its own text does.
      ids: file of old and new ids, see `IdMapping`; None keeps the ids of the answers.
      thresholds: when an answer counts as bad.
      compressed: write `answers.jsonl.gz`.
      strict: raise RejectedInput when records were rejected.

    Returns:
      The summary: read = accepted + rejected.

    Raises:
      ConfigurationError: a file does not exist, or the source cannot be a name.
      CommandError: a file cannot be read as its format at all, a prompt file has a line that is
        no prompt, or the file of ids has an id twice; nothing is written.
      RejectedInput: records were rejected and `strict` was given; everything is written.
    """
    require_plain_name("--source", source)
    files = {path: "FILE" for path in paths} | {path: "--prompts" for path in prompts}
    fingerprints = fingerprint_inputs(files)
    mapping = None if ids is None else IdMapping(ids)
    formats = choose_formats(paths, format_name)
    asked = read_asked_prompts(prompts) if prompts else None
    expected = Expected(source, extraction, model, asked)
    folder = ImportFolder(Path(out), compressed)
    quality, counts = QualitySummary(), FileCounts(paths, formats)
    records = examine(paths, formats, expected, thresholds or Thresholds(), mapping)
    with writing(folder) as writer:
        for examined in tqdm(records, unit=" answers", disable=None):
            place, outcome = examined.place, examined.outcome
            counts.add(examined)
            if isinstance(outcome, Answer):
                writer.write_answer(outcome)
                quality.accept(outcome)
            else:
                writer.write_dead_letter(dead_letter(*place, outcome.reason, outcome.detail))
                quality.reject(place, outcome)
        result = {
            **quality.counts(),
            "quality": quality.quality(),
            "source": source,
            "files": [
                {**entry, "sha256": fingerprints[str(entry["file"])]} for entry in counts.entries()
            ],
            "answers": str(folder.answers),
            "dead_letters": str(folder.dead_letters),
        }
        if mapping is not None:
            mapping.require_met()
            result["ids"] = mapping.summary()
        writer.finish(result)
    for line in summary_lines(result):
        say(line)
    if mapping is not None:
        met = result["ids"]
        say(f"ids: {met['ids_met']:,} of the {met['ids']:,} old ids of {met['file']} were met")
    say(f"answers: {folder.answers}")
    if result["rejected"]:
        say(f"rejected records: {folder.dead_letters}")
        if strict:
            raise RejectedInput(f"some records were rejected; see {folder.dead_letters}", result)
    return result
