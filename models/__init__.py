"""Keras layers and TFRS models that rank with LLM knowledge. A library: no files, no flags.

TensorFlow Recommenders needs Keras 2, which TensorFlow takes from tf-keras if TF_USE_LEGACY_KERAS
is set before it is first imported. This package sets it, unless TensorFlow is there already.
"""

from __future__ import annotations

import os
import sys

_LEGACY_KERAS = "TF_USE_LEGACY_KERAS"

if "tensorflow" not in sys.modules:
    os.environ.setdefault(_LEGACY_KERAS, "1")
if os.environ.get(_LEGACY_KERAS) not in ("1", "true", "True"):
    raise ImportError(
        "the models are of Keras 2 (tf-keras): set the environment variable "
        f"{_LEGACY_KERAS}=1 before TensorFlow is first imported, or import models before it; in a "
        f"notebook, restart the kernel first. Received: {_LEGACY_KERAS}="
        f"{os.environ.get(_LEGACY_KERAS, '')}"
    )
