"""What to do by hand where the network does not let a data set through."""

from __future__ import annotations

from pathlib import Path

from preprocessing.downloading.data_sets import DataSet


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
        f"  {data_set.next_command}",
    ]
    return "\n".join(lines)
