"""What every example must say of itself, whatever the others are."""

from __future__ import annotations

from collections.abc import Sequence

from preprocessing.checking.record_rules import BrokenRule, Record
from preprocessing.records import contract

_LABELS = (0.0, 1.0)


def check_example(record: Record, history_length: int) -> None:
    """Checks one example of any kind.

    Args:
      record: its features, all there and of the right type.
      history_length: the most interactions that a history holds.

    Raises:
      BrokenRule: a value is not possible.
    """
    if not record[contract.USER_ID][0]:
        raise BrokenRule("empty_id", f"'{contract.USER_ID}' is empty")
    items = record[contract.ITEM_ID]
    if not all(items):
        raise BrokenRule("empty_id", f"'{contract.ITEM_ID}' is empty")
    for name in (contract.LABEL, contract.RATING):
        if name in record and len(record[name]) != len(items):
            raise BrokenRule(
                "unequal_lists",
                f"{len(items)} candidates, but '{name}' has {len(record[name])} values",
            )
    for name in record:
        if name == contract.LABEL or name.startswith(contract.LABEL_PREFIX):
            _require_labels(name, record[name])
    position = record[contract.POSITION][0]
    if position < 0:
        raise BrokenRule("position_range", f"'{contract.POSITION}' is {position}")
    history = len(record[contract.HISTORY_ITEM_ID])
    if history != len(record[contract.HISTORY_RATING]):
        raise BrokenRule(
            "unequal_lists",
            f"the history has {history} items and {len(record[contract.HISTORY_RATING])} ratings",
        )
    if history != min(position, history_length):
        raise BrokenRule(
            "history_length",
            f"the history has {history} items; with {position} earlier interactions and "
            f"data.history_length = {history_length} it must have {min(position, history_length)}",
        )
    if not 0 <= record[contract.USER_FOLD][0] < contract.USER_FOLDS:
        raise BrokenRule(
            "fold_range",
            f"'{contract.USER_FOLD}' is {record[contract.USER_FOLD][0]}, must be below "
            f"{contract.USER_FOLDS}",
        )


def _require_labels(name: str, values: Sequence[float]) -> None:
    for label in values:
        if label not in _LABELS:
            raise BrokenRule("label_range", f"{name} is {label:g}, must be 0 or 1")
