"""`python -m preprocessing generate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from configs.command_line import add_field_options, add_json_option
from configs.loading import ConfigurationError, load_scenario
from configs.prompting import Generation
from configs.tracing import traces_sent
from preprocessing.commands.options import epilog

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Asks an LLM every prompt of a file and writes into --out:
  answers.jsonl        one answer a line, in prompt order, as `encode` reads them
  dead_letters.jsonl   rejected prompts and answers, with line and reason
  summary.json         read = answered + rejected + not_attempted (waiting_for_batch of them wait
                       for a batch result); tokens and cost of this run

A prompt file holds one JSON object a line:
  {"custom_id": "item/318", "source": "item", "entity_id": "318", "extraction": "individual",
   "prompt": "...", "prompt_sha256": "..."}
and perhaps json_schema, the form of its answer, as `prompts` writes where it asks for names.

Every answer goes to the answer store (SQLite) before it counts, under its model, parameters and
prompt, and is never paid twice: run the same command again after a stop, a crash or a kill. Equal
prompts are asked once. Rejected for good: empty answers, answers cut off at --max-tokens, refusals,
answers off the JSON schema.

clients:
  openai       any OpenAI-compatible endpoint: OpenAI, vLLM, llama.cpp. The key comes from the
               environment variable that generation.api_key_variable names (OPENAI_API_KEY), and
               is written nowhere, even where the endpoint repeats it. The budget counts on the
               most that calls in flight may spend.
  gguf         a model file in this process, one call at a time: --model MODEL.gguf. Needs
               llama-cpp-python: pip install -r requirements-gguf.txt. Answers are stored under
               the file's name and SHA-256.
  batch-file   writes OUT/batch/requests-*.jsonl for OpenAI's batch service. When its results are
               there, the same command with --read-batch FILE takes them in.
  replay       takes answers from the files of --replay by the hash of their prompts

examples:
  python -m preprocessing generate --prompts prompts.jsonl --out out/answers \\
      --base-url http://localhost:8000/v1 --model my-model --budget-tokens 100000 --dry-run
  python -m preprocessing generate --prompts prompts.jsonl --out out/answers \\
      --client batch-file --model gpt-4o-mini --read-batch batch_output.jsonl
  python -m preprocessing generate --prompts prompts.jsonl --out out/answers \\
      --client gguf --model models/llm.gguf
"""


_OPTIONS = (
    "client",
    "base_url",
    "model",
    "max_tokens",
    "keep_truncated",
    "temperature",
    "json_schema",
    "concurrency",
    "budget_tokens",
    "budget_usd",
    "price_input",
    "price_output",
    "store",
)
"""Keys of the section `generation` that are options as well."""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "generate",
        help="prompts to answers, through any LLM",
        description=_HELP,
        epilog=epilog(["generation"]),
    )
    parser.add_argument("--prompts", required=True, metavar="FILE.jsonl", help="the prompt file")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="output folder")
    parser.add_argument(
        "--config", metavar="FILE.yaml", help="a scenario whose section `generation` is used"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted overrides of the scenario, e.g. generation.retries=3; need --config",
    )
    add_field_options(parser, Generation, _OPTIONS, stands_for="generation")
    parser.add_argument(
        "--replay", action="append", default=[], metavar="FILE", help="answer file; may be repeated"
    )
    parser.add_argument(
        "--read-batch",
        action="append",
        default=[],
        metavar="FILE",
        help="batch output or error file to take in instead of writing requests; may be repeated",
    )
    parser.add_argument(
        "--forget-batches",
        action="store_true",
        help="ask again for prompts whose batch results never came",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it would cost at most; call nothing"
    )
    add_json_option(parser)
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 3 unless every prompt has an answer"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Generates answers and returns the JSON result."""
    from preprocessing.generation.generate import GenerateStep

    step = GenerateStep(
        generation_settings(arguments),
        arguments.prompts,
        arguments.out,
        replay=tuple(arguments.replay),
        read_batch=tuple(arguments.read_batch),
        forget_batches=arguments.forget_batches,
    )
    if arguments.dry_run:
        return step.dry_run()
    with traces_sent("reki-generate"):
        return step.run(arguments.strict)


def generation_settings(arguments: argparse.Namespace) -> Generation:
    """The section `generation` of the scenario, with the options given on the command line.

    Raises:
      ConfigurationError: a value is not allowed, or there are overrides without a scenario.
    """
    settings = Generation()
    if arguments.config:
        settings = load_scenario(arguments.config, arguments.overrides).generation
    elif arguments.overrides:
        raise ConfigurationError(
            f"'{arguments.overrides[0]}': overrides change a scenario; name it with --config"
        )
    given = {
        name: value
        for name in Generation.model_fields
        if (value := getattr(arguments, name, None)) is not None
    }
    try:
        return Generation.model_validate({**settings.model_dump(), **given})
    except ValidationError as error:
        problems = [problem["msg"].removeprefix("Value error, ") for problem in error.errors()]
        raise ConfigurationError("\n".join(problems)) from error
