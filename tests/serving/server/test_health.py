from __future__ import annotations

from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.server.grpc_services import Health

SERVICES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


def test_health_follows_the_models_and_ends_with_the_server() -> None:
    health = Health()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    health.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)

            def statuses() -> set[int]:
                requests = [health_pb2.HealthCheckRequest(service=name) for name in SERVICES]
                return {stub.Check(request, timeout=20).status for request in requests}

            serving = {health_pb2.HealthCheckResponse.SERVING}
            not_serving = {health_pb2.HealthCheckResponse.NOT_SERVING}
            assert statuses() == not_serving
            health.set_ready(True)
            assert statuses() == serving
            health.set_ready(False)
            assert statuses() == not_serving
            health.set_ready(True)
            health.stop()
            health.set_ready(True)
            assert statuses() == not_serving
            with pytest.raises(grpc.RpcError) as caught:
                stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=20)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    finally:
        server.stop(0).wait()
