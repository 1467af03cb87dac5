from __future__ import annotations

import ast

import pytest

from preprocessing.answers.checks import CHECKS
from preprocessing.answers.record import (
    ENCODING_REASONS,
    GENERATION_REASONS,
    QUALITY_REASONS,
    RECORD_REASONS,
    meaning_of,
)
from tests.source_code import syntax_tree

REJECTING = (
    "RejectedAnswer", "Rejection", "TransientFailure", "RequestRefused",
)  # fmt: skip
"""Classes whose first argument is a reason."""


def literal_reasons(source: str) -> set[str]:
    """Reasons that are written out, the beginning of those that are put together."""
    found = set()
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in REJECTING:
            reason = node.args[0]
            if isinstance(reason, ast.JoinedStr):
                reason = reason.values[0]
            if isinstance(reason, ast.Constant):
                found.add(reason.value)
    return found


def test_every_reason_in_the_code_has_a_meaning(repository_root):
    used = {reason for reason, _ in CHECKS}
    for path in sorted((repository_root / "preprocessing").rglob("*.py")):
        used |= literal_reasons(path.read_text(encoding="utf-8"))
    assert len(used) > 30
    assert {reason for reason in used if not meaning_of(reason)} == set()


def test_no_reason_means_two_things():
    names = [
        *RECORD_REASONS, *QUALITY_REASONS, *GENERATION_REASONS, *ENCODING_REASONS,
    ]  # fmt: skip
    assert len(names) == len(set(names))


@pytest.mark.parametrize("reason", ["http_400", "refusal", "wrong_width", "not_an_object"])
def test_a_reason_is_explained(reason):
    assert meaning_of(reason)


def test_other_names_mean_nothing():
    assert meaning_of("bad_luck") is None
