"""Messages between the supervisor and a worker."""

import asyncio
import socket
from typing import Any

import pytest
from gatewayz_metrics.server.channel import Channel, ChannelSilent, receive_first, send_first


class End:
    """One end that notes what it hears, and what it answers with."""

    def __init__(self, answer: Any = None) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.answer = answer
        self.channel = Channel(lambda kind, content: self.heard.append((kind, content)), self._answer)

    async def _answer(self, kind: str) -> Any:
        if self.answer is None:
            await asyncio.Event().wait()
        return kind, self.answer


async def connected(*ends: End) -> list[asyncio.Task[None]]:
    for end, connection in zip(ends, socket.socketpair(), strict=True):
        await end.channel.open(connection)
    return [asyncio.create_task(end.channel.run()) for end in ends]


def test_a_question_has_its_answer() -> None:
    async def talk() -> None:
        one, other = End(), End({"large": b"x" * 2_000_000})
        tasks = await connected(one, other)
        answers = await asyncio.gather(*(one.channel.ask(kind, patience=60) for kind in "abc"))
        assert answers == [(kind, other.answer) for kind in "abc"]
        await one.channel.aclose()
        await asyncio.gather(*tasks)

    asyncio.run(talk())


def test_what_was_told_before_the_end_arrives_in_its_order() -> None:
    async def talk() -> None:
        one, other = End(), End()
        tasks = await connected(one, other)
        for number in range(1000):
            one.channel.tell("count", (number, b"x" * 1000))
        await one.channel.aclose()
        await asyncio.gather(*tasks)
        assert [content[0] for _, content in other.heard] == list(range(1000))

    asyncio.run(talk())


@pytest.mark.parametrize("leaves", [True, False])
def test_an_end_that_says_nothing_is_silent(leaves: bool) -> None:
    async def talk() -> None:
        one, other = End(), End()
        tasks = await connected(one, other)
        question = asyncio.create_task(one.channel.ask("anything", patience=3600 if leaves else 0.01))
        await asyncio.sleep(0)
        if leaves:
            await other.channel.aclose()
        with pytest.raises(ChannelSilent):
            await question
        await one.channel.aclose()
        with pytest.raises(ChannelSilent):
            one.channel.tell("anything")
        await asyncio.gather(*tasks)

    asyncio.run(talk())


def test_the_first_message_is_had_without_a_loop() -> None:
    one, other = socket.socketpair()
    with one, other:
        send_first(one, {"a": 1})
        assert receive_first(other) == {"a": 1}
        one.close()
        with pytest.raises(EOFError):
            receive_first(other)
