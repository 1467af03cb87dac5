from __future__ import annotations

from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.protocol.messages import get_model_status_pb2, model_service_pb2_grpc
from serving.server.grpc_services import Health, RefusalWhileStopping


class Service(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request, context):  # noqa: N802
        return get_model_status_pb2.GetModelStatusResponse()


def test_requests_are_refused_from_the_beginning_of_the_stop_and_health_is_told() -> None:
    refusal = RefusalWhileStopping()
    server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=[refusal])
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Service(), server)
    Health().add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            request = get_model_status_pb2.GetModelStatusRequest()
            assert stub.GetModelStatus(request, timeout=20) == Service().GetModelStatus(None, None)
            refusal.begin()
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetModelStatus(request, timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == "The server is stopping"
            health = health_pb2_grpc.HealthStub(channel)
            told = health.Check(health_pb2.HealthCheckRequest(), timeout=20)
            assert told.status == health_pb2.HealthCheckResponse.NOT_SERVING
    finally:
        server.stop(0).wait()
