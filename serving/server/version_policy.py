"""Which of the versions in a model's folder are to be served."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection

_TEXT = re.compile(
    r"latest(?::(?P<count>[1-9][0-9]{0,8}))?|all|specific:(?P<versions>[0-9]{1,18}(?:,[0-9]{1,18})*)"
)
_FORMS = "latest, latest:N (N from 1), all, or specific:V,V,..."


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """The newest versions, all of them, or chosen ones.

    Attributes:
      latest: how many of the highest versions; None for all.
      specific: exactly these versions; empty when `latest` decides.
    """

    latest: int | None = 1
    specific: frozenset[int] = frozenset()

    def wanted(self, found: Collection[int]) -> list[int]:
        """The versions to serve out of those found, highest first."""
        ordered = sorted(found, reverse=True)
        if self.specific:
            return [version for version in ordered if version in self.specific]
        return ordered if self.latest is None else ordered[: self.latest]

    @classmethod
    def parse(cls, text: str) -> VersionPolicy:
        """Reads `latest`, `latest:2`, `all` or `specific:1,3`.

        Raises:
          ValueError: another form; the message lists the forms.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"expected {_FORMS}. Received: {text!r}")
        if text == "all":
            return cls(latest=None)
        if match["versions"]:
            return cls(specific=frozenset(map(int, match["versions"].split(","))))
        return cls(latest=int(match["count"] or 1))
