"""One run: its form, its engines, its load makers, and the ways of measuring that rows share."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Self

import httpx

from tests.bench import parties
from tests.bench.data import Deployment, engine
from tests.bench.figures import Figure, paired
from tests.bench.load import Ask, Crowd, LoadMaker
from tests.bench.parties import ROOT, Party


@dataclass(frozen=True)
class Form:
    """How much is measured: sizes in series, rounds, seconds of a crowd."""

    name: str
    deployments: dict[str, Deployment]
    rounds: int
    crowd_seconds: float
    refreshes: int
    range_seconds: int
    viewers: tuple[int, ...] = ()


_MINUTE = 60
# Comments of a page without failures.
_USUAL = re.compile(r"# (HELP|TYPE|EOF)\b|.*: no data$")
FULL = Form(
    "full",
    {
        "tiny": Deployment(1_000, 15 * _MINUTE, 60),
        "medium": Deployment(10_000, 15 * _MINUTE, 60),
        "wide": Deployment(50_000, 70 * _MINUTE, 60),
        "large": Deployment(200_000, 6 * _MINUTE, 60),
        "long": Deployment(5_200, 395 * _MINUTE, 15),
    },
    rounds=5,
    crowd_seconds=1.5,
    refreshes=8,
    range_seconds=6 * 3600,
    viewers=(1, 10, 100, 500),
)
SHORT = Form(
    "short",
    {
        "tiny": Deployment(1_000, 15 * _MINUTE, 60),
        "medium": Deployment(3_000, 15 * _MINUTE, 60),
        "wide": Deployment(10_000, 70 * _MINUTE, 60),
        "large": Deployment(20_000, 6 * _MINUTE, 60),
        "long": Deployment(2_000, 95 * _MINUTE, 15),
    },
    rounds=3,
    crowd_seconds=0.5,
    refreshes=4,
    range_seconds=3600,
)
# For the test that all of it still runs.
SMOKE = Form(
    "smoke",
    {name: Deployment(350, 70 * _MINUTE, 60) for name in ("tiny", "medium", "wide", "large")}
    | {"long": Deployment(350, 35 * _MINUTE, 15)},
    rounds=1,
    crowd_seconds=0.1,
    refreshes=1,
    range_seconds=600,
    viewers=(1,),
)


@dataclass
class Bench:
    """What the rows measure with. As a context manager it ends every process at the end."""

    form: Form
    code: Path = ROOT / "api"
    trickster_binary: str = field(default_factory=lambda: os.environ.get("TRICKSTER_BIN", ""))
    say: Callable[[str], None] = print
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._engines: dict[str, Party] = {}
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.series: dict[str, int] = {}
        self.load = self._stack.enter_context(LoadMaker())
        self.prober = self._stack.enter_context(LoadMaker())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def engine(self, name: str) -> Party:
        """Prometheus over the deployment of that name, which is written when it is first asked for."""
        if name not in self._engines:
            self.series[name] = self.form.deployments[name].write(self._folder / name)
            self._engines[name] = self._stack.enter_context(engine(self._folder / name))
        return self._engines[name]

    def service(self, name: str, *words: str, **settings: str) -> AbstractContextManager[Party]:
        """The service over the deployment of that name."""
        interval = str(self.form.deployments[name].step)
        return parties.service(self.engine(name), self.code, *words, SCRAPE_INTERVAL=interval, **settings)

    @contextmanager
    def trickster(self, name: str) -> Iterator[Party | None]:
        """Trickster over the deployment of that name, where its binary is given."""
        if not self.trickster_binary:
            yield None
            return
        with parties.trickster(self.trickster_binary, self.engine(name)) as party:
            yield party

    @cached_property
    def trickster_version(self) -> str:
        return parties.trickster_version(self.trickster_binary) if self.trickster_binary else ""

    def crowds(
        self, key: str, ours: Party, asks: dict[str, Ask], connections: int, yardstick: str, **more: Any
    ) -> Figure:
        """Requests a second of each that is asked, in turns; `ours` is among them."""
        found: dict[str, list[Crowd]] = {name: [] for name in asks}
        for ask in asks.values():
            self.load.crowd(ask, 2, 0)
        used = 0.0
        for number in range(self.form.rounds):
            # Every other round backwards, so that nobody always follows the same one.
            for name, ask in list(asks.items())[:: -1 if number % 2 else 1]:
                before = ours.processor_seconds()
                found[name].append(self.load.crowd(ask, connections, self.form.crowd_seconds))
                used += ours.processor_seconds() - before if name == "ours" else 0
        rates = {name: [one.rate for one in crowds] for name, crowds in found.items()}
        more |= {
            "cpu_ms": 1000 * used / sum(one.answers for one in found["ours"]),
            "load_share": median(one.load_share for one in found["ours"]),
            "others": {name: median(rate) for name, rate in rates.items() if name not in ("ours", yardstick)},
        }
        if yardstick in rates:
            return paired(key, rates["ours"], rates[yardstick], **more)
        return Figure(key, median(rates["ours"]), **more)

    def turns(
        self,
        key: str,
        ours: Party,
        rounds: Sequence[dict[str, Ask]],
        yardstick: str,
        *,
        engine: Party | None = None,
        **more: Any,
    ) -> Figure:
        """Milliseconds of each answer, one at a time, in turns; the first turn warms up and does not count.

        The turns are put together to as many rounds as the form has: a single turn's ratio is chance. With an
        `engine`, as many turns at the end are not timed: they tell what it computes for each kind of answer.
        """
        counted = rounds[-self.form.rounds :] if engine is not None else ()
        timed = rounds[: len(rounds) - len(counted)]
        before = ours.processor_seconds()
        taken = self.load.ask_each([ask for turn in timed for ask in turn.values()])
        used = ours.processor_seconds() - before
        names = list(rounds[0])
        found = {name: taken[place :: len(names)][1:] for place, name in enumerate(names)}
        times = {name: [one.milliseconds for one in answers] for name, answers in found.items()}
        others = {name: median(values) for name, values in times.items() if name not in ("ours", yardstick)}
        if engine is not None:
            for name in names:
                label = f"engine CPU ms for {'theirs' if name == yardstick else name}"
                others[label] = self._computed(engine, [turn[name] for turn in counted])
        more = {"cpu_ms": 1000 * used / len(timed), "others": others, **more}
        return paired(key, self._in_rounds(times["ours"]), self._in_rounds(times[yardstick]), **more)

    def _computed(self, engine: Party, asks: Sequence[Ask]) -> float:
        """Processor milliseconds of the engine for each answer."""
        before = engine.processor_seconds()
        self.load.ask_each(asks)
        return 1000 * (engine.processor_seconds() - before) / len(asks)

    def _in_rounds(self, values: list[float]) -> list[float]:
        size = max(1, len(values) // self.form.rounds)
        return [median(values[begin : begin + size]) for begin in range(0, size * self.form.rounds, size)]

    def longest_wait(self, server: Party, asks: Sequence[Ask]) -> float:
        """The longest that `/livez` took while the requests were answered, in milliseconds."""
        with self.prober.probing(server.ask("/livez")) as waits:
            self.load.ask_each(asks)
        return max(waits)


def read(ask: Ask) -> tuple[bytes, str]:
    """The body and the media type of an answer. Raises AssertionError for an answer that tells of a failure."""
    content, headers = ask.body or None, {"Content-Type": ask.media_type} if ask.body else {}
    method = "POST" if ask.body else "GET"
    url = f"{ask.server}{ask.path}"
    answer = httpx.request(method, url, content=content, headers=headers, trust_env=False, timeout=120)
    assert answer.status_code == 200, answer.text[:400]
    if answer.headers["content-type"].startswith("application/json"):
        assert not {"error", "errors"} & answer.json().keys(), answer.text[:400]
    else:
        failures = [line for line in answer.text.splitlines() if line.startswith("#") and not _USUAL.match(line)]
        assert not failures, failures[:10]
    return answer.content, answer.headers["content-type"]
