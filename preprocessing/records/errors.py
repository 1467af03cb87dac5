"""The error of every reader in this package."""

from __future__ import annotations

from configs.command_line import CommandError


class DamagedRecords(CommandError):
    """A file of the work directory is missing, cut off or holds something else than it should.

    The message names the file, the place in it and what to do.
    """
