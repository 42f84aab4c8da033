"""Workers that do not behave, played by a small program in place of the service."""

import asyncio
import logging
import sys
from pathlib import Path

import pytest
from gatewayz_metrics import Settings, cli
from gatewayz_metrics.errors import ConfigurationError
from gatewayz_metrics.server.listeners import Listeners
from gatewayz_metrics.server.supervisor import Supervisor

from tests.support.waiting import reach

# A worker that does what its supervisor expects up to some point.
PLAY = """
import asyncio, socket, sys
from gatewayz_metrics.server.channel import Channel, receive_first

async def play(connection):
    async def answer(kind): return None
    channel = Channel(lambda kind, content: None, answer)
    await channel.open(connection)
    {acts}
    await channel.aclose()

connection = socket.socket(fileno=int(sys.argv[1]))
orders = receive_first(connection)
asyncio.run(play(connection))
sys.exit({code})
"""


def supervisor(tmp_path: Path, acts: str, code: int = 3, workers: int = 2) -> Supervisor:
    script = tmp_path / "worker.py"
    script.write_text(PLAY.format(acts=acts, code=code))
    settings = Settings(port=0, workers=workers)
    return Supervisor(settings, Listeners(settings), [sys.executable, str(script)])


def begin(found: Supervisor) -> "asyncio.Task[None]":
    return asyncio.create_task(found.run(on_listening=lambda: None, read=Settings))


def test_a_crash_at_the_start_ends_the_service(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^Worker [12] \(process \d+\) ended by itself with exit code 3\. Its"
    ):
        asyncio.run(supervisor(tmp_path, "pass").run(on_listening=pytest.fail, read=Settings))

    assert caplog.messages == []


def test_a_worker_that_ends_again_and_again_is_replaced_ever_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The first one serves, the second as well for a moment, the others not at all.
    mark = tmp_path / "mark"
    acts = f"channel.tell('ready') if not __import__('os').path.exists({str(mark)!r}) else None"
    acts += f"; open({str(mark)!r}, 'w').close()"

    async def watch() -> None:
        task = begin(supervisor(tmp_path, acts, workers=1))
        await reach(lambda: len(caplog.messages) >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with caplog.at_level(logging.ERROR):
        asyncio.run(watch())

    assert [message.partition(" Another")[2] for message in caplog.messages[:3]] == [
        " takes its place now.",
        " takes its place in 1 s.",
        " takes its place in 2 s.",
    ]
    assert all("ended by itself with exit code 3." in message for message in caplog.messages)


def test_a_platform_that_cannot_do_it_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(workers=2)
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(ConfigurationError, match="WORKERS above 1 needs Linux, macOS or another Unix"):
        asyncio.run(cli._supervise(settings, Settings))
