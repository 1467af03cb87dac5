"""LLM knowledge for a TensorFlow model of your own: three layers, and the reader of their vectors.

    from reki import HybridExpertNetwork, KnowledgeMatch, KnowledgeTable, read_knowledge

TensorFlow is imported when a layer is first asked for. The layers are of the Keras that it brings:
Keras 3, or Keras 2 (tf-keras) where TF_USE_LEGACY_KERAS=1 is set before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from configs import __version__

if TYPE_CHECKING:
    from models.hein import HybridExpertNetwork
    from models.knowledge import KnowledgeTable
    from models.match import KnowledgeMatch
    from preprocessing.records.knowledge import read_knowledge

__all__ = [
    "HybridExpertNetwork",
    "KnowledgeMatch",
    "KnowledgeTable",
    "__version__",
    "read_knowledge",
]

_LAYERS = {
    "HybridExpertNetwork": "models.hein",
    "KnowledgeMatch": "models.match",
    "KnowledgeTable": "models.knowledge",
}


def __getattr__(name: str) -> object:
    """What `__all__` lists, when it is first used.

    Raises:
      ImportError: a layer needs a package that is not installed.
    """
    if name == "read_knowledge":
        return getattr(import_module("preprocessing.records.knowledge"), name)
    if name not in _LAYERS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    try:
        # Before `models`, which would choose Keras 2 where nobody has chosen.
        import_module("tensorflow")
        return getattr(import_module(_LAYERS[name]), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"reki.{name} needs {error.name}: pip install 'reki[layers]'", name=error.name
        ) from error
