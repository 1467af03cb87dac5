"""Re-rankers by registry name: a new one is a file, a test and a line here."""

from __future__ import annotations

from models.rerankers.dlcm import DeepListwiseContextModel
from models.rerankers.mir import MultiLevelInteractionReranking
from models.rerankers.prm import PersonalizedReranking
from models.rerankers.setrank import SetRank

RERANKERS = {
    "dlcm": DeepListwiseContextModel,
    "prm": PersonalizedReranking,
    "setrank": SetRank,
    "mir": MultiLevelInteractionReranking,
}
