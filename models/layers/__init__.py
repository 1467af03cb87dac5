"""Building blocks that several backbones share: layers of Keras 2 alone."""

from __future__ import annotations

import os

import tensorflow as tf

if not tf.keras.__name__.startswith("tf_keras"):
    raise ImportError(
        "ranking models and their layers are of Keras 2 (tf-keras): set the environment variable "
        "TF_USE_LEGACY_KERAS=1 before TensorFlow is first imported, or import models before it; in "
        "a notebook, restart the kernel first. Received: TF_USE_LEGACY_KERAS="
        f"{os.environ.get('TF_USE_LEGACY_KERAS', '')}"
    )
