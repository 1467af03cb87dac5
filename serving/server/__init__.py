"""A local server with TensorFlow Serving's gRPC and REST API, for laptops and tests."""

from __future__ import annotations

from configs.command_line import set_up_tensorflow

# The settings count only when they are made before TensorFlow is imported, which the next line
# does.
set_up_tensorflow()

from serving.server.local_server import LocalServer  # noqa: E402

__all__ = ["LocalServer"]
