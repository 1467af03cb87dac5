"""The client for event loops must do what the other one does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.client import (
    AsyncRankingClient,
    Hedging,
    RankingClient,
    RankingError,
    UserRequest,
)
from tests.serving.client.answering import USER, Answering, Statuses, answering
from tests.waiting import LONGEST_SECONDS, NEVER_SECONDS

Result = TypeVar("Result")


def ask(
    service: Answering,
    question: Callable[[AsyncRankingClient], Awaitable[Result]],
    statuses: Statuses | None = None,
    timeout_seconds: float = LONGEST_SECONDS,
    **options: object,
) -> Result:
    async def run(port: int) -> Result:
        target = f"127.0.0.1:{port}"
        async with AsyncRankingClient(target, "m", timeout_seconds, **options) as client:
            return await question(client)

    with answering(service, statuses) as port:
        return asyncio.run(run(port))


def test_requests_are_those_of_the_client_with_threads() -> None:
    service = Answering({"score": np.float32([0.5, 0.25])})
    options = {"version_label": "stable"}
    scores = ask(service, lambda client: client.rank(USER, ["x", "ü"]), **options)
    assert scores.tolist() == [0.5, 0.25]
    ask(service, lambda client: client.ask(USER, ["x", "ü"]), **options)
    ask(service, lambda client: client.score_rows([USER, USER], ["x", "y"]), **options)
    with (
        answering(service) as port,
        RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS, **options) as same,
    ):
        same.rank(USER, ["x", "ü"])
        same.ask(USER, ["x", "ü"])
        same.score_rows([USER, USER], ["x", "y"])
    assert service.requests[:3] == service.requests[3:]


def test_several_users_are_asked_for_at_once_and_in_order() -> None:
    service = Answering({"score": np.float32([0.5])})
    service.version = 3
    users = [UserRequest.from_history(str(number), [], []) for number in range(6)]

    async def many(client: AsyncRankingClient) -> list:
        return await client.ask_many(users, [["x"], *[["y"]] * 4, []], at_once=2)

    answers = ask(service, many)
    assert [answer.version for answer in answers] == [3] * 5 + [None]
    asked = [tf.make_ndarray(request.inputs["user_id"])[0] for request in service.requests]
    assert sorted(asked) == [b"0", b"1", b"2", b"3", b"4"]
    service.failures = [grpc.StatusCode.INTERNAL]
    with pytest.raises(RankingError, match="by design"):
        ask(service, many)


def test_a_slow_answer_is_overtaken_by_a_hedge_and_cancelled() -> None:
    service = Answering({"score": np.float32([0.5])})
    service.delays = [NEVER_SECONDS]

    async def rank(client: AsyncRankingClient) -> tuple[list[float], int]:
        scores = await client.rank(USER, ["x"])
        assert client.hedge_budget is not None
        while not service.cancelled:
            await asyncio.sleep(0.01)
        return scores.tolist(), client.hedge_budget.hedges

    hedging = Hedging(after_seconds=0.05, largest_share=1.0)
    assert ask(service, rank, hedging=hedging) == ([0.5], 1)
    assert len(service.requests) == 2


@pytest.mark.parametrize("hedging", [None, Hedging(after_seconds=0.05, largest_share=1.0)])
def test_a_client_that_is_closed_meanwhile_says_so(hedging: Hedging | None) -> None:
    service = Answering()
    service.delays = [NEVER_SECONDS] * 2

    async def close_meanwhile(client: AsyncRankingClient) -> None:
        asked = asyncio.ensure_future(client.rank(USER, ["x"]))
        while not service.requests:
            await asyncio.sleep(0.01)
        await client.close()
        await asked

    with pytest.raises(RankingError, match="not asked any more .*closed") as caught:
        ask(service, close_meanwhile, hedging=hedging)
    assert caught.value.code == "CANCELLED"


@pytest.mark.parametrize("hedging", [None, Hedging(after_seconds=1.0)])
def test_a_client_that_was_closed_before_says_so(hedging: Hedging | None) -> None:
    async def close_before(client: AsyncRankingClient) -> None:
        await client.close()
        await client.rank(USER, ["x"])

    with pytest.raises(RankingError, match="not asked any more .*closed") as caught:
        ask(Answering(), close_before, hedging=hedging)
    assert caught.value.code == "CANCELLED"


def test_a_task_that_is_cancelled_stays_cancelled() -> None:
    service = Answering()
    service.delays = [NEVER_SECONDS]

    async def cancel(client: AsyncRankingClient) -> None:
        asked = asyncio.ensure_future(client.rank(USER, ["x"]))
        while not service.requests:
            await asyncio.sleep(0.01)
        asked.cancel()
        await asked

    with pytest.raises(asyncio.CancelledError):
        ask(service, cancel)
