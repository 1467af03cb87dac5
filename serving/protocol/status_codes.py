"""The status codes of gRPC, which are those of TensorFlow."""

from __future__ import annotations

import grpc

STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
"""Number -> status code."""
