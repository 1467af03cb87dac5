"""Backbones by registry name: a new one is a file, a test and a line here."""

from __future__ import annotations

from models.backbones.dcnv2 import DeepCrossNetworkV2
from models.backbones.din import DeepInterestNetwork

BACKBONES = {
    "din": DeepInterestNetwork,
    "dcnv2": DeepCrossNetworkV2,
}
