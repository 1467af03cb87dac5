"""The door of the configuration: `python -m configs {show,schema,doctor}`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from configs.command_line import (
    CommandError,
    Subparsers,
    add_json_option,
    add_scenario_options,
    print_output,
    program_parser,
    run_command,
    say,
    scenario_of,
)

_HELP = """\
Shows what a scenario resolves to, what may be written into it, and whether this machine can run it.

  python -m configs show   --config configs/movielens_small.yaml training.seed=2
  python -m configs schema --out scenario.schema.json
  python -m configs doctor --config configs/movielens_small.yaml
"""

_SHOW = """\
Prints the scenario as YAML: all keys, with what the file, the overrides and the defaults say. It is
a scenario file again.
"""

_SCHEMA = """\
Prints the JSON Schema of scenario files. Editors complete keys, show their meaning and mark
mistakes with it; for those with the YAML language server, put this line on top of a file:
  # yaml-language-server: $schema=scenario.schema.json
"""

_DOCTOR = """\
Looks at Python, TensorFlow and its Keras 2, libraries, GPUs, memory, disk, the ports of a local
server and, with --config, the LLM endpoint of the section `generation` (its list of models, which
costs nothing). Ends with exit code 1 where something must be repaired first.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    parser = program_parser("python -m configs", _HELP)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_show(subparsers)
    _add_schema(subparsers)
    _add_doctor(subparsers)
    parsed = parser.parse_args(arguments)
    return run_command(parsed.run, parsed)


def _add_show(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "show", help="a scenario with its overrides and all defaults", description=_SHOW
    )
    add_scenario_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=show)


def show(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Prints the resolved scenario as YAML, unless JSON is asked for."""
    tree = scenario_of(arguments).model_dump(mode="json")
    if not arguments.json:
        print_output(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).rstrip())
    return tree


def _add_schema(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "schema", help="the JSON Schema of scenario files, for editors", description=_SCHEMA
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write it there instead")
    parser.set_defaults(run=schema)


def schema(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Prints or writes the schema."""
    from configs.schema import editor_schema

    document = editor_schema()
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if arguments.out is None:
        print_output(text)
    else:
        arguments.out.write_text(f"{text}\n", encoding="utf-8")
        say(f"{arguments.out}: written")
    return document


def _port_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535. Received: {text!r}")
    return int(text)


def _add_doctor(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "doctor", help="whether this machine can do the work", description=_DOCTOR
    )
    parser.add_argument(
        "--config", metavar="FILE.yaml", help="a scenario: its work_dir and its endpoint"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="dotted overrides of the scenario"
    )
    parser.add_argument(
        "--port",
        type=_port_number,
        action="append",
        metavar="P",
        help="port of a local server; may be repeated (default: 8500 and 8501)",
    )
    add_json_option(parser)
    parser.set_defaults(run=doctor)


def doctor(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Tells what was found, each with its fix.

    Raises:
      CommandError: something must be repaired first.
    """
    from dataclasses import asdict

    from configs.doctor import examine

    scenario = scenario_of(arguments) if arguments.config else None
    folder = Path(scenario.work_dir if scenario else ".")
    findings = []
    ports = arguments.port or (8500, 8501)
    for finding in examine(folder, ports, scenario.generation if scenario else None):
        fix = f"; {finding.fix}" if finding.fix else ""
        say(f"{finding.state:<8}{finding.check}: {finding.found}{fix}")
        findings.append(asdict(finding))
    result = {"findings": findings}
    broken = [finding["check"] for finding in findings if finding["state"] == "error"]
    if broken:
        raise CommandError(f"to be repaired first: {', '.join(map(str, broken))}", result)
    return result


if __name__ == "__main__":
    sys.exit(main())
