"""What to do before and after a data set is there, for people."""

from __future__ import annotations

import shlex
from pathlib import Path

from preprocessing.downloading.data_sets import DATA_SETS, DataSet

_DATA = Path("data")
_NO_ANSWERS_YET = "knowledge.answers.user.history_entry_pattern=null"
"""Lets the leak check do without the prompts of answers that nobody has asked for."""


def default_folder(data_set: DataSet) -> Path:
    """Where a data set goes unless another folder is named."""
    return _DATA / data_set.name


def next_commands(data_set: DataSet, out: Path) -> list[str]:
    """What to run once the files are there: neither command needs answers of an LLM.

    Args:
      data_set: which one.
      out: the folder with its files; the configuration is told where it reads another one.
    """
    arguments = ["--config", f"configs/{data_set.configuration}.yaml", *data_set.overrides]
    if out != _DATA / data_set.configuration:
        arguments += [f"{key}={out / file}" for key, file in data_set.tables.items()]
    shown = shlex.join(arguments)
    return [
        f"python -m preprocessing prompts {shown} --dry-run",
        f"python -m preprocessing examples {shown} {_NO_ANSWERS_YET}",
    ]


def described_next(data_set: DataSet, out: Path) -> str:
    """The same in words."""
    prompts, examples = next_commands(data_set, out)
    return (
        f"what an LLM would be asked, and what it costs:\n  {prompts}\n"
        f"examples, before there are answers:\n  {examples}\n"
        "with answers: `generate`, then `all`, as the head of the configuration says"
    )


def missing_data_advice(path: str) -> str:
    """How to get a file that belongs to a public data set which is not there; else "".

    Args:
      path: a file or pattern that means no file.
    """
    folder, name = (*Path(path).parts, "", "")[:2]
    data_set = DATA_SETS.get(name)
    if data_set is None or Path(folder) != _DATA:
        return ""
    if all((default_folder(data_set) / file).is_file() for file in data_set.files):
        return ""
    return f"; python -m preprocessing download {data_set.name} fetches this data set"


def by_hand(data_set: DataSet, out: Path) -> str:
    """Addresses, file names, target folder and the command that comes next, for people."""
    lines = ["Where this network does not allow it, fetch on another machine:"]
    for remote in data_set.remote:
        lines.append(f"  {remote.addresses[0]}")
        lines += [f"    or {address}" for address in remote.addresses[1:]]
        for member, name in remote.members.items():
            lines.append(f"    {member} in it is {out / name}")
        if not remote.members:
            lines.append(f"    as it comes is {out / remote.name}")
    lines += [
        "Or serve the files in a network of your own and add --mirror http://HOST/FOLDER. "
        f"With the files in {out}:",
        described_next(data_set, out),
    ]
    return "\n".join(lines)
