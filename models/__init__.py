"""Keras layers and TFRS models that rank with LLM knowledge. A library: no files, no flags.

TensorFlow Recommenders needs Keras 2, which TensorFlow takes from tf-keras if TF_USE_LEGACY_KERAS
is set before it is first imported. This package sets it, unless it is set or TensorFlow is there
already. `models.knowledge`, `models.hein` and `models.match` work in Keras 3 as well, which `reki`
leaves to TensorFlow; all that is built on `models.layers` refuses it.
"""

from __future__ import annotations

import os
import sys

if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
