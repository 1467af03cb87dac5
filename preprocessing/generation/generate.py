"""The step `generate`: a prompt file to answers, through the client that the settings name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, RejectedInput, say
from configs.prompting import Generation
from preprocessing.answers.completion import Usage
from preprocessing.answers.names import told_names
from preprocessing.answers.record import meaning_of
from preprocessing.dead_letters import DeadLetter
from preprocessing.generation.answer_store import Acceptance, AnswerStore, Rejection
from preprocessing.generation.chat import ChatParameters, load_answer_schema
from preprocessing.generation.client import (
    BUDGET_REACHED,
    ENDPOINT_UNUSABLE,
    INTERRUPTED,
    ClientReport,
)
from preprocessing.generation.clients import ClientFiles, check_settings, open_client
from preprocessing.generation.file_clients import ANY_MODEL
from preprocessing.generation.gguf import read_gguf_file
from preprocessing.generation.outputs import (
    OutputFolder,
    PromptCounts,
    Survey,
    pending_requests,
    survey,
)
from preprocessing.inputs import input_checksums
from preprocessing.prompting.token_costs import Prices

_DATE = re.compile(r"([-@:](\d{4}-\d{2}-\d{2}|\d{4}|\d{6}|\d{8}))?")


class GenerateStep:
    """One run of `generate`.

    Args:
      settings: client, model, limits.
      prompts: the prompt file.
      out: folder for answers, dead letters and summary.
      replay: answer files of the client "replay".
      read_batch: batch result files to read; no requests are written then.
      forget_batches: ask again for prompts whose batch results never came.

    Raises:
      ConfigurationError: settings do not fit together, or a file is missing.
    """

    def __init__(
        self,
        settings: Generation,
        prompts: str,
        out: Path,
        replay: tuple[str, ...] = (),
        read_batch: tuple[str, ...] = (),
        forget_batches: bool = False,
    ):
        check_settings(settings, replay, read_batch)
        self._settings = settings
        self._prompts = prompts
        self._out = OutputFolder(out)
        self._files = ClientFiles(prompts, replay, read_batch, self._out.batch)
        self._forget_batches = forget_batches
        self._hashes = input_checksums(
            {path: "--read-batch" for path in read_batch}
            | {path: "--replay" for path in replay}
            | {prompts: "--prompts"}
        )
        schema = None if settings.json_schema is None else load_answer_schema(settings.json_schema)
        self._gguf = None
        if settings.client == "gguf" and settings.model is not None:
            self._gguf = read_gguf_file(settings.model, self._out.model_hash)
        self._parameters = ChatParameters(
            model=self._gguf.name if self._gguf else settings.model or ANY_MODEL,
            system_prompt=settings.system_prompt,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            token_limit_parameter=settings.token_limit_parameter,
            schema=schema,
            sends_schema=settings.send_schema,
        )
        self._acceptance = Acceptance(schema, settings.keep_truncated, settings.attempts_per_answer)
        self._prices = Prices(settings.price_input, settings.price_output)
        self._store_path = Path(settings.store) if settings.store else self._out.store

    def dry_run(self) -> dict[str, Any]:
        """Says what a run would do and at most cost; writes nothing."""
        with AnswerStore(self._store_path, self._parameters, read_only=True) as store:
            work = self._survey(store, self._forget_batches)
        if self._files.replay or self._files.read_batch:
            wanted = work.waiting if self._files.read_batch else work.calls
            say(
                f"would look for {wanted} answers to {work.prompts} prompts in "
                "the files that are named, and ask nobody"
            )
            work = replace(work, calls=0, prompt_tokens=0, most_usage=Usage(0, 0, estimated=True))
            return self._planned(work)
        most = work.most_usage
        cost = self._prices.cost(most.prompt_tokens, most.completion_tokens)
        say(
            f"would ask {self._parameters.model} for {work.calls} answers to {work.prompts} "
            f"prompts: about {work.prompt_tokens:,} prompt tokens and at most "
            f"{most.completion_tokens:,} answer tokens"
            f"{'' if cost is None else f', at most ${cost:.2f}'}"
        )
        return self._planned(work)

    def _planned(self, work: Survey) -> dict[str, Any]:
        most = work.most_usage
        return {
            "dry_run": True,
            "read": work.prompts + work.dead_letters,
            "rejected": work.dead_letters,
            "distinct_prompts": work.distinct,
            "waiting_for_batch": work.waiting,
            "calls": work.calls,
            "prompt_tokens_estimate": work.prompt_tokens,
            "completion_tokens_at_most": most.completion_tokens,
            "cost_usd_at_most": self._prices.cost(most.prompt_tokens, most.completion_tokens),
        }

    def run(self, strict: bool) -> dict[str, Any]:
        """Gets answers and writes the output folder.

        Args:
          strict: a prompt without an answer raises RejectedInput.

        Returns:
          The summary.

        Raises:
          CommandError: the endpoint is unusable, the budget has no room for a single call, or no
            prompt has an answer because every call of the LLM failed; what was answered before is
            written.
          KeyboardInterrupt: stopped by Ctrl-C; what was answered before is written.
          RejectedInput: see `strict`; or calls of the LLM failed, and other prompts have answers.
        """
        if self._gguf is not None:
            self._gguf.remember(self._out.model_hash)
        with AnswerStore(self._store_path, self._parameters) as store:
            if self._forget_batches:
                say(f"{store.forget_batches()} batch requests without a result are asked again")
            work = self._survey(store)
            with open_client(
                self._settings, self._parameters, self._acceptance, self._files, work.calls
            ) as client:
                pending = pending_requests(self._prompts, store, self._acceptance)
                report = client.answer(pending, store)
            before = self._out.count_answers()
            counts = self._out.write_answers(
                self._prompts,
                store,
                self._acceptance,
                report.failures,
                report.dead_letters,
                None if self._parameters.model == ANY_MODEL else self._parameters.model,
            )
        summary = self._summary(work, report, counts)
        self._out.write_summary(summary)
        self._say_summary(summary, report.dead_letters)
        if counts.answered < before:
            say(
                f"warning: {self._out.answers} had {before:,} answers and has {counts.answered:,} "
                "now, of these prompts and parameters. None is lost: the command that got the "
                "others writes them again without a call. Name another --out to keep both"
            )
        if report.stopped == INTERRUPTED:
            raise KeyboardInterrupt
        if report.stopped == ENDPOINT_UNUSABLE:
            raise CommandError(
                f"{report.problem}. Repair that and run the same command again", summary
            )
        if report.stopped == BUDGET_REACHED and not _has_spent(summary):
            raise CommandError(
                "the budget has no room for the next call, nor will it have in another run: raise "
                "generation.budget_tokens or generation.budget_usd, or lower "
                f"generation.max_tokens ({self._parameters.max_tokens:,}), all of which is held "
                "back for an answer",
                summary,
            )
        if report.failures and self._settings.client in ("openai", "gguf"):
            left = f"{len(report.failures):,} prompts have" if counts.answered else "no prompt has"
            problem = (
                f"{left} {'no' if counts.answered else 'an'} answer: {_causes(report.failures)}. "
                "Repair that and run the same command again"
            )
            raise (RejectedInput if counts.answered else CommandError)(problem, summary)
        if strict and (counts.rejected_by_reason or counts.not_attempted or report.dead_letters):
            raise RejectedInput(
                f"not every prompt has an answer; see {self._out.dead_letters}", summary
            )
        return summary

    def _survey(self, store: AnswerStore, forget_batches: bool = False) -> Survey:
        # Requests of a batch are written once in a run.
        calls = 1 if self._settings.client == "batch-file" else self._settings.attempts_per_answer
        return survey(
            self._prompts, store, self._acceptance, self._parameters, calls, forget_batches
        )

    def _summary(self, work: Survey, report: ClientReport, counts: PromptCounts) -> dict[str, Any]:
        return {
            **counts.as_dictionary(),
            "distinct_prompts": work.distinct,
            "client": self._settings.client,
            "model": self._parameters.model,
            "parameters_sha256": self._parameters.sha256,
            "calls": report.calls,
            "retries": report.retries,
            "tokens": {
                "prompt": report.prompt_tokens,
                "completion": report.completion_tokens,
                "total": report.prompt_tokens + report.completion_tokens,
                "calls_with_estimated_tokens": report.estimated_calls,
            },
            "cost_usd": report.cost_usd,
            "stopped": report.stopped,
            "inputs": self._hashes,
            **report.details,
        }

    def _say_summary(self, summary: dict[str, Any], rejected: Sequence[DeadLetter]) -> None:
        cost = "" if summary["cost_usd"] is None else f", ${summary['cost_usd']:.4f}"
        say(
            f"generate: {summary['read']} prompts, {summary['answered']} answered, "
            f"{summary['rejected']} rejected, {summary['not_attempted']} not attempted; "
            f"{summary['calls']} calls, {summary['tokens']['total']:,} tokens{cost}; "
            f"see {self._out.path}"
        )
        for reason, count in summary["rejected_by_reason"].items():
            say(f"  {count:,} {reason}: {meaning_of(reason)}")
        lines = Counter((letter["file"], letter["reason"]) for letter in rejected)
        for (file, reason), count in lines.items():
            say(f"  {count:,} lines of {file} are {reason}: {meaning_of(reason)}")
        if summary["names"] is not None:
            say(told_names(summary["names"]))
        asked = self._parameters.model
        others = {
            model: count
            for model, count in summary["models"].items()
            if asked != ANY_MODEL and not is_version_of(asked, model)
        }
        if others:
            named = ", ".join(f"{count:,} by {model}" for model, count in others.items())
            say(
                f"warning: {asked} was asked, but the endpoint reports answers of other models: "
                f"{named}. They are named in the field `model` of answers.jsonl; check "
                "generation.model and generation.base_url if that is not what you meant"
            )
        if summary["stopped"] == BUDGET_REACHED and _has_spent(summary):
            say(
                f"the budget of this run is used up: {summary['not_attempted']} prompts were not "
                "attempted. Another run of the same command has a budget of its own; no answer is "
                "paid twice"
            )
        if files := summary.get("batch_files"):
            say(
                f"send {', '.join(files)} to the batch service, then run the same command with "
                "--read-batch RESULT_FILE"
            )
        elif waiting := summary["waiting_for_batch"]:
            say(
                f"{waiting} prompts still wait for a batch result: take it in with --read-batch, "
                "or ask for it again by running the same command with --forget-batches and without "
                "--read-batch"
            )
        unasked = summary["not_attempted"] - summary["waiting_for_batch"]
        unknown = sum(count for (_, reason), count in lines.items() if reason == "unknown_request")
        if unknown:
            say(
                "a result belongs to the model, the parameters and the store that its request was "
                "written with: add --read-batch to the very command that wrote the requests"
            )
        if self._files.read_batch and unasked > unknown:
            say(
                f"{unasked} prompts wait for no batch result and have no answer: run the same "
                "command without --read-batch to write requests for them"
            )


def is_version_of(asked: str, answered: str) -> bool:
    """True when a service names the model that was asked: with its folder, its date, or neither."""
    name, reported = (text.rsplit("/", 1)[-1].casefold() for text in (asked, answered))
    return _DATE.fullmatch(reported.removeprefix(name)) is not None and reported.startswith(name)


def _has_spent(summary: Mapping[str, Any]) -> bool:
    """Whether a run made a call that may be paid, or wrote a request for a batch."""
    return bool(summary["tokens"]["total"] or summary.get("batch_requests"))


def _causes(failures: Mapping[str, Rejection]) -> str:
    """Reasons by their number, most frequent first, each with what one call with it met."""
    counts = Counter(failure.reason for failure in failures.values())
    details = {failure.reason: failure.detail for failure in failures.values()}
    return "; ".join(
        f"{count:,} {reason} ({details[reason]})" for reason, count in counts.most_common()
    )
