"""What all views share: the parameters of an address, and how a difference is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.datastructures import QueryParams

from configs.command_line import CommandError
from serving.client.inputs import UserRequest
from serving.explore.svg import Bar, bars
from trainer.comparison import Compared

Values = dict[str, Any]
"""Name in a template -> value."""


class WrongParameter(CommandError):
    """The address has a parameter that means nothing here."""


@dataclass(frozen=True)
class Parameters:
    """The query of an address.

    Attributes:
      query: its parameters.
    """

    query: QueryParams

    def text(self, name: str, default: str = "") -> str:
        """A parameter, or the default where it is missing or empty."""
        return self.query.get(name) or default

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """A parameter that must be one of some texts; the first where it is missing or empty.

        Raises:
          WrongParameter: it is none of them.
        """
        chosen = self.text(name, choices[0])
        if chosen not in choices:
            raise WrongParameter(f"{name}: expected {' or '.join(choices)}. Received: '{chosen}'")
        return chosen

    def number(self, name: str, default: int, highest: int) -> int:
        """A parameter that must be a whole number from 0.

        Raises:
          WrongParameter: it is none, or above the highest.
        """
        text = self.text(name, str(default))
        is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(highest))
        if not (is_number and int(text) <= highest):
            raise WrongParameter(
                f"{name}: expected a whole number from 0 to {highest}. Received: '{text}'"
            )
        return int(text)

    def history(self, has_ratings: bool) -> list[tuple[str, float]]:
        """The history of the form: `item` and `rating`, one each; without a rating it is removed.

        Args:
          has_ratings: false of implicit feedback, where each item has the rating 1.

        Raises:
          WrongParameter: a rating is no number.
        """
        if not has_ratings:
            return [(item, 1.0) for item in self.query.getlist("item") if item]
        pairs = zip_longest(self.query.getlist("item"), self.query.getlist("rating"), fillvalue="")
        return [(item, rating_of(text)) for item, text in pairs if item and text.strip()]


def rating_of(text: str) -> float:
    """A rating as a form sends it.

    Raises:
      WrongParameter: it is no number.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < 1e6:
        raise WrongParameter(f"rating: expected a number. Received: '{text}'")
    return number


def address(path: str, **parameters: object) -> str:
    """The address of a page, without parameters that are None; lists are repeated."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def difference_of(compared: Compared) -> Values:
    """A difference of AUCs as templates show it."""
    auc = compared.differences.get("auc")
    shown: Values = {"n": compared.n, "users": compared.users, "reason": compared.reason}
    if auc is not None:
        shown |= {
            "baseline": auc.baseline,
            "candidate": auc.candidate,
            "difference": auc.difference,
            "low": auc.low,
            "high": auc.high,
        }
    return shown


def difference_plot(title: str, compared: Mapping[str, Compared]) -> Markup:
    """Differences of AUCs by group, with their intervals."""
    rows = []
    for name, one in compared.items():
        auc = one.differences.get("auc")
        if auc is None:
            rows.append(Bar(name, 0.0, "–"))
            continue
        colour = 0 if auc.difference >= 0 else 1
        text = f"{auc.difference:+.4f}"
        rows.append(Bar(name, auc.difference, text, auc.low, auc.high, colour))
    return bars(title, rows)


def ratings_of(user: UserRequest) -> list[float | None]:
    """Ratings of the history; None of implicit feedback."""
    if user.history_rating is None:
        return [None] * len(user.history_item_id)
    return list(user.history_rating)
