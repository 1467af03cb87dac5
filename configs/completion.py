"""Shell completion of programs that are called as `python -m NAME`, made from their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from configs.loading import described_keys
from configs.schema import choices_of_keys

SHELLS = ("bash", "zsh")

_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
_SCRIPT = r"""_reki_keys='{keys}'
_reki_{program}() {{
  # $1: the command; $2: the word before
  case "$1 $2" in
{cases}
  esac
}}
_reki_values() {{
  case "$1" in
{values}
  esac
}}
_reki() {{
  local place program command words
  local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  for ((place = 1; place < COMP_CWORD; place++)); do
    [[ "${{COMP_WORDS[place]}}" == -m ]] || continue
    program="${{COMP_WORDS[place+1]}}"
    ((place + 2 < COMP_CWORD)) && command="${{COMP_WORDS[place+2]}}"
    break
  done
  COMPREPLY=()
  declare -f "_reki_$program" > /dev/null || return 0
  if [[ "$current" == "=" || "$before" == "=" ]]; then
    [[ "$current" == "=" ]] && before="=" && current="" && ((COMP_CWORD++))
    words="$(_reki_values "${{COMP_WORDS[COMP_CWORD-2]}}")"
  else
    words="$("_reki_$program" "$command" "$before")"
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ "${{COMPREPLY[0]}}" == *= ]]; then compopt -o nospace 2> /dev/null; fi
  return 0
}}
complete -o default -F _reki python python3 .venv/bin/python
"""


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script for the shell to read, which completes one program.

    Words of commands, options and choices come from the parser; keys of overrides and their values
    from the fields of a scenario. Where nothing is known, the shell completes file names. Scripts
    of several programs go together.

    Args:
      parser: of the program; its `prog` is "python -m NAME".
      shell: one of `SHELLS`.
    """
    program = parser.prog.split()[-1]
    commands = _commands(parser)
    cases = [_case([" -m", f" {program}"], [*commands, *_options(parser)])]
    for name, command in commands.items():
        takes_keys = any(action.dest == "overrides" for action in command._actions)
        with_files = []
        for action in command._actions:
            places = [f"{name} {option}" for option in action.option_strings]
            if action.choices:
                cases.append(_case(places, map(str, action.choices)))
            elif action.nargs != 0:
                with_files += places
        cases += [_case(with_files, [])] if with_files else []
        words = f"'{' '.join(_options(command))} '{'$_reki_keys' if takes_keys else ''}"
        cases.append(f"    '{name} '*) echo {words};;")
    script = _SCRIPT.format(
        program=program,
        keys=" ".join(f"{key}=" for key in described_keys() if "<" not in key),
        cases="\n".join(cases),
        values="\n".join(_case([key], choices) for key, choices in choices_of_keys().items()),
    ).rstrip("\n")
    return _ZSH + script if shell == "zsh" else script


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for option in parser._option_string_actions if option.startswith("--")]


def _case(patterns: Iterable[str], words: Iterable[str]) -> str:
    """A branch of a shell's `case`; names of commands, options and choices hold no quotes."""
    quoted = "|".join(f"'{pattern}'" for pattern in patterns)
    return f"    {quoted}) echo '{' '.join(words)}';;"
