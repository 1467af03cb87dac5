"""Knowledge match: how the candidate resembles what this user rated, in knowledge space."""

from __future__ import annotations

from models.match.kinds import MATCH_KINDS, MatchMethod
from models.match.layer import KnowledgeMatch
from models.match.sources import KnowledgeMatches
from models.match.tables import MatchTables

__all__ = [
    "MATCH_KINDS",
    "KnowledgeMatch",
    "KnowledgeMatches",
    "MatchMethod",
    "MatchTables",
]
