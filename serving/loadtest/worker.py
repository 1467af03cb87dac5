"""The generator as a program: `python -m serving.loadtest.worker FOLDER`, started by `running`."""

from __future__ import annotations

import asyncio
import gc
import selectors
import sys
from pathlib import Path

import grpc

from serving.client.connection import Connection
from serving.loadtest.generator import CALLS_FILE, Calls, run_phase, write_calls
from serving.loadtest.plan import Plan
from serving.protocol.messages import predict_pb2

_CONNECT_SECONDS = 2.0
_METHOD = "/tensorflow.serving.PredictionService/Predict"


def main(folder: Path) -> None:
    """Carries out the plan in a folder and writes what became of it beside it."""
    # A collection in the middle would look like a slow server.
    gc.disable()
    # Waits to the microsecond; what asyncio takes by default rounds up to whole milliseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        calls = runner.run(carry_out(Plan.read(folder)))
    write_calls(folder / CALLS_FILE, calls)


async def carry_out(plan: Plan) -> list[Calls]:
    """Sends the requests of a plan; what became of them, phase by phase."""
    channels = [Connection(tls=plan.tls).async_channel(target) for target in plan.targets]
    # Requests are serialized already, so that sending one costs little.
    methods = [
        channel.unary_unary(_METHOD, response_deserializer=predict_pb2.PredictResponse.FromString)
        for channel in channels
    ]

    async def send(number: int, timeout_seconds: float) -> int:
        method = methods[plan.servers[number]]
        response = await method(plan.requests[number], timeout=timeout_seconds)
        return response.model_spec.version.value

    try:
        await asyncio.gather(*(_connected(channel) for channel in channels))
        return [await run_phase(send, phase) for phase in plan.phases]
    finally:
        for channel in channels:
            await channel.close()


async def _connected(channel: grpc.aio.Channel) -> None:
    # Without a server the requests themselves will say so.
    try:
        await asyncio.wait_for(channel.channel_ready(), timeout=_CONNECT_SECONDS)
    except TimeoutError:
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
