"""Backbones by registry name: a new one is a file, a test and a line here."""

from __future__ import annotations

from models.backbones.autoint import AutomaticFeatureInteraction
from models.backbones.bst import BehaviorSequenceTransformer
from models.backbones.dcn import DeepCrossNetwork
from models.backbones.dcnv2 import DeepCrossNetworkV2
from models.backbones.deepfm import DeepFactorizationMachine
from models.backbones.dien import DeepInterestEvolutionNetwork
from models.backbones.din import DeepInterestNetwork
from models.backbones.dlrm import DeepLearningRecommendationModel
from models.backbones.fibinet import FeatureImportanceBilinearNetwork
from models.backbones.fignn import FeatureInteractionGraphNetwork
from models.backbones.finalmlp import FinalMLP
from models.backbones.masknet import MaskNet
from models.backbones.pnn import ProductNetwork
from models.backbones.wide_deep import WideDeep
from models.backbones.xdeepfm import ExtremeDeepFactorizationMachine

BACKBONES = {
    "din": DeepInterestNetwork,
    "dien": DeepInterestEvolutionNetwork,
    "dcn": DeepCrossNetwork,
    "dcnv2": DeepCrossNetworkV2,
    "deepfm": DeepFactorizationMachine,
    "xdeepfm": ExtremeDeepFactorizationMachine,
    "autoint": AutomaticFeatureInteraction,
    "fibinet": FeatureImportanceBilinearNetwork,
    "fignn": FeatureInteractionGraphNetwork,
    "dlrm": DeepLearningRecommendationModel,
    "wide_deep": WideDeep,
    "pnn": ProductNetwork,
    "masknet": MaskNet,
    "finalmlp": FinalMLP,
    "bst": BehaviorSequenceTransformer,
}
