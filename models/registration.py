"""The name under which our layers are registered with Keras."""

PACKAGE = "reki"
