"""The commands on the way to answers: `prompts`, `generate` and `import`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from configs.command_line import (
    EXIT_CODES_HELP,
    add_field_options,
    add_json_option,
    say,
    scenario_of,
    section_of,
)
from configs.files import require_folder_name
from configs.knowledge import SourceAnswers
from configs.loading import ConfigurationError, load_scenario
from configs.prompting import Generation
from configs.tracing import traces_sent
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.options import (
    add_answer_options,
    add_quality_options,
    formats_help,
    quality_help,
)
from preprocessing.commands.options import add_source_option, epilog

if TYPE_CHECKING:
    from configs.command_line import Subparsers
    from configs.scenario import Scenario
    from preprocessing.prompting.token_costs import Prices


_PROMPTS_HELP = """\
Renders the prompts that an LLM will answer, and says what that will cost, before it is spent.

  <work_dir>/prompts/prompts.jsonl      one prompt a line: custom_id, source, entity_id, extraction,
                                        model (null), prompt, prompt_sha256; interactions_seen of
                                        users; json_schema and members where names are asked for
  <work_dir>/prompts/custom_ids.csv     which user each pseudonym stands for; keep it in the house
  <work_dir>/prompts/groups_SOURCE.csv  groups after merging, if groups were merged
  <work_dir>/prompts/dead_letters.jsonl rejected rows, with line and reason

A source gets individual prompts if knowledge.answers.SOURCE.individual names files (the answers to
come), and collective prompts if it has 'collective' and either 'groups', a file of your own, or
'grouping', which makes the groups first (see the command `group`). A user's prompt shows the user's
first k_u = min(floor((n + 1) / 2), split.knowledge_history_cap) interactions, oldest first, and
groups are described from those alone (leak rule). A group is described by the titles with the
highest lift. Titles are sanitised and quoted: what they say cannot pose as a request.

A source with 'links' is asked for names: which items do people who love this one love too, or what
would this user love and what not. Sources whose answers share a name (`item`, factor description,
and `item_links`, factor links) are asked in one prompt for one JSON answer. About a group, names
are asked for each member.

Factors and templates come from prompts.scenario: movies, books, news, music, products, or the path
of a YAML file of the same form as preprocessing/scenarios/movies.yaml. Each names the
history_entry_pattern by which the leak check of `examples` finds what its prompts showed.
--propose-factors asks the configured LLM for the factors of a new scenario and writes such a file,
for an expert to edit; nothing else calls an LLM.

Tokens are estimated as a prompt's UTF-8 bytes / 4, answers as prompts.expected_answer_tokens for a
text and prompts.expected_name_tokens for a name.

examples:
  python -m preprocessing prompts --config configs/movielens_small.yaml --dry-run
  python -m preprocessing prompts --config configs/movielens_small.yaml --source user \\
      --price-input 0.15 --price-output 0.6 --out out/user_prompts.jsonl
  python -m preprocessing prompts --propose-factors --scenario-text "short news videos" \\
      --config configs/movielens_small.yaml generation.model=gpt-4o-mini --out news_videos.yaml
  python -m preprocessing prompts --propose-factors --scenario-text "short news videos" --dry-run
"""


def add_prompts(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "prompts",
        help="factorization prompts, questions for links, and their cost",
        description=_PROMPTS_HELP,
        epilog=epilog(
            [
                "work_dir",
                "data",
                "split.knowledge_history_cap",
                "knowledge.answers",
                "prompts",
                "generation",
            ]
        ),
    )
    parser.add_argument(
        "--config", metavar="FILE.yaml", help="the scenario; needed unless --propose-factors"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted overrides of the scenario, e.g. prompts.scenario=books",
    )
    add_json_option(parser)
    add_source_option(parser, "a source of knowledge.answers (default: all of them)")
    parser.add_argument(
        "--out",
        metavar="FILE.jsonl",
        help="copy the prompts there, in the place of earlier prompts alone, and what belongs to "
        "them beside; --propose-factors: the scenario's YAML file",
    )
    add_field_options(parser, Generation, ("price_input", "price_output"), stands_for="generation")
    parser.add_argument(
        "--dry-run", action="store_true", help="count and price the prompts, write nothing"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 3 when records were rejected"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="render again even if the inputs are unchanged; --propose-factors: replace the file",
    )
    parser.add_argument(
        "--propose-factors",
        action="store_true",
        help="ask the LLM of the section `generation` for the factors of a new scenario and write "
        "them to --out FILE.yaml (default: in <work_dir>/factor_proposal); with --dry-run only "
        "print the prompt",
    )
    parser.add_argument(
        "--scenario-text", metavar="TEXT", help="what is recommended to whom, for --propose-factors"
    )
    parser.set_defaults(run=_prompts)


def _prompts(arguments: argparse.Namespace) -> dict[str, Any]:
    """Renders the prompts and returns the JSON result."""
    if arguments.propose_factors:
        return _propose_factors(arguments)
    if arguments.scenario_text is not None:
        raise ConfigurationError("--scenario-text goes with --propose-factors; add that option")
    if arguments.config is None:
        raise ConfigurationError(
            "--config is missing; name the scenario, e.g. --config configs/movielens_small.yaml"
        )
    from preprocessing.prompting.step import build_prompts

    scenario = scenario_of(arguments)
    return build_prompts(
        scenario,
        sources=arguments.source,
        out=None if arguments.out is None else Path(arguments.out),
        prices=_prices(arguments, scenario),
        strict=arguments.strict,
        force=arguments.force,
        dry_run=arguments.dry_run,
    )


def _prices(arguments: argparse.Namespace, scenario: Scenario) -> Prices:
    from preprocessing.prompting.token_costs import Prices

    generation = scenario.generation
    given = (arguments.price_input, arguments.price_output)
    configured = (generation.price_input, generation.price_output)
    prompt, answer = (
        default if price is None else price
        for price, default in zip(given, configured, strict=True)
    )
    return Prices(prompt, answer)


def _propose_factors(arguments: argparse.Namespace) -> dict[str, Any]:
    from preprocessing.answers.record import prompt_sha256
    from preprocessing.generation.factor_proposal import proposal_prompt, propose_factors

    if arguments.dry_run:
        prompt = proposal_prompt(arguments.scenario_text)
        say(prompt)
        return {
            "step": "prompts",
            "dry_run": True,
            "prompt": prompt,
            "prompt_sha256": prompt_sha256(prompt),
        }
    if arguments.config is None:
        raise ConfigurationError(
            "--propose-factors asks the LLM of the section 'generation': name a scenario with "
            "--config, or add --dry-run to print the prompt alone"
        )
    scenario = scenario_of(arguments)
    return propose_factors(
        scenario.generation,
        arguments.scenario_text,
        Path(scenario.work_dir) / "factor_proposal",
        None if arguments.out is None else Path(arguments.out),
        arguments.force,
    )


_GENERATE_HELP = """\
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
prompts are asked once. Rejected: empty answers and answers off the JSON schema, once they were
asked for generation.attempts_per_answer times; answers cut off at --max-tokens and refusals.

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


_GENERATE_OPTIONS = (
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


def add_generate(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "generate",
        help="prompts to answers, through any LLM",
        description=_GENERATE_HELP,
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
    add_field_options(parser, Generation, _GENERATE_OPTIONS, stands_for="generation")
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
    parser.set_defaults(run=_generate)


def _generate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Generates answers and returns the JSON result."""
    from preprocessing.generation.generate import GenerateStep

    require_folder_name("--out", arguments.out)
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


_ENTITY = SourceAnswers.model_fields["entity"].annotation
_IMPORT_HELP = """\
Reads answers that an LLM gave elsewhere, checks each of them, and writes
  DIR/answers.jsonl        the accepted answers, in the order of the files, for knowledge.answers
  DIR/dead_letters.jsonl   every rejected record with file, line, reason and detail
  DIR/summary.json         what --json prints: read = accepted + rejected, and their quality

The first accepted answer for an entity counts; later ones are dead letters. A file that is not in
its format at all fails the command, and nothing is written.

With --ids FILE the ids of items or users are replaced: FILE is a table with the columns `old` and
`new` (CSV, TSV, JSON lines, Parquet) or a JSON object old -> new. An answer whose id is no `old` id
is a dead letter, unknown_id; an `old` id that stands there twice is an error. Answers about groups
keep the ids of their groups, and those of their members are replaced; give --ids to `import
--groups` too.

With --groups FILE.json in place of answers: a JSON object id -> group becomes DIR/groups.csv, for
knowledge.answers.SOURCE.groups. Formats and checks in full: docs/importing.md.

examples:
  python -m preprocessing import --source item --out out/answers/item batch_output.jsonl
  python -m preprocessing import --source user --prompts prompts.jsonl \\
      --out out/answers/user batch_output.jsonl
  python -m preprocessing import --source item --format id-text --model deepseek-chat \\
      --out out/answers/item colakg_item.json.gz
  python -m preprocessing import --source item --ids artist_ids.csv --out out/answers/item \\
      artists.jsonl
  python -m preprocessing import --groups user_id2pos_neg_group.json --entity user --place 1 \\
      --out out/groups/user_liked
"""


def add_import(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "import",
        help="answers made elsewhere to answer records",
        description=_IMPORT_HELP,
        epilog="\n\n".join([formats_help(), quality_help(), EXIT_CODES_HELP]),
    )
    parser.add_argument("--source", metavar="NAME", help="source, e.g. item or user")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into")
    parser.add_argument(
        "--model", metavar="NAME", help="LLM that wrote the answers, where a file does not say"
    )
    parser.add_argument(
        "--prompts",
        action="append",
        default=[],
        metavar="FILE.jsonl",
        help="prompts that were sent (what `prompts` wrote): they say which entity a custom_id "
        "stands for, and what was asked; needed where custom ids are pseudonyms; may be repeated",
    )
    parser.add_argument(
        "--ids",
        metavar="FILE",
        help="table with the columns old and new, or JSON object old -> new: ids of the answers, "
        "or of --groups, and those of your log",
    )
    parser.add_argument("--gzip", action="store_true", help="write DIR/answers.jsonl.gz instead")
    add_answer_options(parser, files_needed=False)
    parser.add_argument(
        "--groups",
        metavar="FILE.json",
        help="instead of answers: a JSON object, id -> group id or id -> list of group ids",
    )
    parser.add_argument(
        "--entity", choices=get_args(_ENTITY), help="--groups: what the ids are; needed there"
    )
    parser.add_argument(
        "--place",
        type=int,
        metavar="N",
        help="--groups: which group id of each list, counted from 1",
    )
    add_json_option(parser)
    add_quality_options(parser)
    parser.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> dict[str, Any]:
    """Imports and returns the JSON result.

    Raises:
      ConfigurationError: options are missing, or do not go together.
    """
    if arguments.groups is not None:
        return _import_groups(arguments)
    for option in ("entity", "place"):
        if getattr(arguments, option) is not None:
            raise ConfigurationError(f"--{option} goes with --groups; leave it out for answers")
    if arguments.source is None:
        raise ConfigurationError("--source: say of which source the answers are, e.g. item")
    if not arguments.files:
        raise ConfigurationError("FILE: name the answer files, or a file of groups with --groups")
    from preprocessing.answers.importing import import_answers

    return import_answers(
        arguments.files,
        arguments.source,
        arguments.out,
        format_name=arguments.format,
        extraction=arguments.extraction,
        model=arguments.model,
        prompts=arguments.prompts,
        ids=arguments.ids,
        thresholds=section_of(arguments, Thresholds),
        compressed=arguments.gzip,
        strict=arguments.strict,
    )


def _import_groups(arguments: argparse.Namespace) -> dict[str, Any]:
    """Raises ConfigurationError for options that say something about answers."""
    for option, name in (("files", "FILE"), ("source", "--source"), ("prompts", "--prompts")):
        if getattr(arguments, option):
            raise ConfigurationError(f"{name} is for answers; leave it out beside --groups")
    if arguments.entity is None:
        raise ConfigurationError("--entity: say what the ids of --groups are, item or user")
    from preprocessing.grouping.groups_file import import_groups

    return import_groups(
        arguments.groups,
        arguments.entity,
        arguments.out,
        place=arguments.place,
        ids=arguments.ids,
        strict=arguments.strict,
    )
