from __future__ import annotations

import ast

from preprocessing.knowledge.reasons import QUALITY_REASONS, RECORD_REASONS
from preprocessing.quality.checks import CHECKS


def literal_reasons(source: str) -> set[str]:
    """First arguments of RejectedAnswer(...) that are written out."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", None) == "RejectedAnswer"
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_reason_in_the_code_has_a_meaning(repository_root):
    room = repository_root / "preprocessing"
    used = {reason for reason, _ in CHECKS}
    for folder in ("knowledge", "quality", "importing"):
        for path in sorted((room / folder).glob("*.py")):
            used |= literal_reasons(path.read_text(encoding="utf-8"))
    assert len(used) > 15
    assert used <= {*RECORD_REASONS, *QUALITY_REASONS}


def test_no_reason_means_two_things():
    assert not RECORD_REASONS.keys() & QUALITY_REASONS.keys()
