"""Turns of a user who is no administrator: many connections ask no more than one does."""

import asyncio
from functools import partial
from itertools import pairwise

from shiftboss.engine.callers import Usage

CONNECTIONS, REQUESTS, ROUNDS = 16, 3, 10


def test_one_request_of_all_connections_is_taken_between_the_turns_of_others() -> None:
    taken: list[int] = []
    counts: list[int] = []

    def take(usage: Usage, connection: int, left: int) -> None:
        taken.append(connection)
        if left:
            usage.line_up(partial(take, usage, connection, left - 1))

    async def served() -> None:
        usage = Usage(0)
        for connection in range(CONNECTIONS):
            usage.line_up(partial(take, usage, connection, REQUESTS - 1))
        while len(taken) < CONNECTIONS * REQUESTS:
            counts.append(len(taken))
            await asyncio.sleep(0)

    asyncio.run(served())
    assert {after - before for before, after in pairwise(counts)} == {1}
    assert taken == [*range(CONNECTIONS)] * REQUESTS, "and its own connections take turns as well"


def test_a_request_that_fails_takes_no_turn_from_the_next() -> None:
    taken: list[str] = []

    def fail() -> None:
        raise ValueError("as no request should")

    async def served() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, found: taken.append(found["message"][:9])
        )
        usage = Usage(0)
        usage.line_up(fail)
        usage.line_up(partial(taken.append, "next"))
        for _ in range(ROUNDS):
            await asyncio.sleep(0)

    asyncio.run(served())
    assert taken == ["Exception", "next"]
