"""`python -m preprocessing prompts`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.command_line import add_field_options, add_json_option, say, scenario_of
from configs.loading import ConfigurationError
from configs.prompting import Generation
from preprocessing.commands.options import epilog

if TYPE_CHECKING:
    from configs.command_line import Subparsers
    from configs.scenario import Scenario
    from preprocessing.prompting.token_costs import Prices

_HELP = """\
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


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "prompts",
        help="factorization prompts, questions for links, and their cost",
        description=_HELP,
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
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="a source of knowledge.answers (default: all of them); may be repeated",
    )
    parser.add_argument(
        "--out",
        metavar="FILE.jsonl",
        help="copy the prompts there, and what belongs to them beside; --propose-factors: the "
        "scenario's YAML file",
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
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
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
