"""grpc.health.v1: whether the server can answer requests."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.protocol.messages import model_service_pb2, prediction_service_pb2

_SERVICES = (
    "",  # the server as a whole
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name,
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
)


class Health:
    """SERVING while every model has a version available and the server is not stopping."""

    def __init__(self) -> None:
        self._servicer = health.HealthServicer()
        self.set_ready(False)

    def add_to(self, server: grpc.Server) -> None:
        """Adds the service to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def set_ready(self, is_ready: bool) -> None:
        """Reports whether every model can be asked."""
        status = health_pb2.HealthCheckResponse
        for service in _SERVICES:
            self._servicer.set(service, status.SERVING if is_ready else status.NOT_SERVING)

    def stop(self) -> None:
        """Reports NOT_SERVING for good."""
        self._servicer.enter_graceful_shutdown()
