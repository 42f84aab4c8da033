"""The status page in a real Chromium: numbers, an outage, tokens, keyboard; no console error, no request elsewhere."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gatewayz_demo import processes
from gatewayz_demo.processes import EngineProcess
from gatewayz_metrics import Settings, create_app

from tests.support import fake_upstream as fakes
from tests.support import server
from tests.support.browser import BINARY, Browser, browsing
from tests.support.fake_upstream import FakeUpstream

pytestmark = pytest.mark.skipif(BINARY is None, reason="there is no Chromium")

TOKEN = "the-token"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, browsing(Path(folder)) as found:
        yield found


RISEN = """(() => {
  const tile = document.querySelector("#hour .card"), start = "2026-01-01T00:00:00Z", end = "2026-01-01T01:00:00Z";
  drawLine(tile, { start, end, series: [{ name: "a.b", values: [[start, 1], [end, 2]] }] }, "a.b", 3);
  return tile.querySelector(".span").textContent;
})()"""


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[EngineProcess]:
    """A real Prometheus with two requests a second, from two hours ago until well after the test."""
    begin = round(time.time()) - 7200
    lines = [f"fastapi_requests_total {2 * age} {begin + age}" for age in range(0, 7200 + 1800, 15)]
    page = tmp_path / "page.om"
    page.write_text("\n".join(["# TYPE fastapi_requests counter", *lines, "# EOF", ""]), "utf-8")
    processes.backfill(page, tmp_path / "tsdb")
    with processes.start_prometheus(tmp_path / "tsdb") as process:
        yield process


@contextmanager
def serving(upstream: EngineProcess | FakeUpstream, **settings: object) -> Iterator[str]:
    app = create_app(Settings(prometheus_url=upstream.url, cache_ttl=0.1, **settings))  # type: ignore[arg-type]
    with server.running(app, server.listening()) as url:
        yield url


def assert_quiet(browser: Browser, url: str) -> None:
    """Nothing in the console, and nothing asked of anybody else."""
    assert browser.console == []
    assert [asked for asked in browser.requested if not asked.startswith((f"{url}/", "data:"))] == []


def test_it_shows_numbers_with_unit_age_and_reason(browser: Browser, upstream: EngineProcess) -> None:
    with serving(upstream) as url:
        browser.go(f"{url}/")
        summary = browser.wait_for("120 requests/min", "#summary")

        assert "No data: no matching series of active_api_keys" in summary
        assert browser.text("#state") == "The upstream answers."
        assert browser.text("#moment").endswith("s ago.")
        assert "120 to 120" in browser.text("#hour")
        line = browser.evaluate("document.querySelector('#hour path').getAttribute('d')")
        assert line.startswith("M")
        assert line.count("L") > 200
        # The number above the line belongs to it, also where it is higher than all before.
        assert browser.evaluate(RISEN) == "1 to 3"
        assert "None since this service started." in browser.text("#troubles")
        assert_quiet(browser, url)


def test_it_shows_an_outage_and_its_end(browser: Browser, upstream: EngineProcess) -> None:
    with serving(upstream) as url:
        browser.go(f"{url}/status")
        browser.wait_for("120 requests/min", "#summary")
        upstream.stop()
        browser.wait_for("The upstream does not answer.", "#state")

        assert "Its last answer came at" in browser.text("#detail")
        assert "cannot be reached" in browser.text("#detail")
        assert "N/A" in browser.text("#summary")
        assert "requests/min" not in browser.text("#summary")
        assert "requests to the upstream that failed: unreachable" in browser.text("#troubles")
        # What counts down is true for a moment, and the page stands still.
        assert "next attempt" not in browser.text("#detail")
        assert browser.text("#moment").startswith("No numbers: the upstream does not answer. Asked at ")

        upstream.restart()
        browser.wait_for("The upstream answers.", "#state")
        browser.wait_for("120 requests/min", "#summary")
        assert_quiet(browser, url)


def test_an_outage_is_told_before_readyz_has_heard_of_it(browser: Browser) -> None:
    """/readyz tells the last known state, which may be from before; numbers that are absent are no health."""
    with FakeUpstream(fakes.healthy) as fake, serving(fake) as url:
        browser.go(f"{url}/")
        browser.wait_for("The upstream answers.", "#state")
        browser.wait_for("requests/min", "#summary")
        # From now on /readyz says what it said.
        browser.evaluate(
            "{ const asked = window.fetch; window.fetch = (url, options) => String(url).endsWith('/readyz') "
            '? Promise.resolve(new Response(\'{"status": "ok"}\')) : asked(url, options) }'
        )
        fake.behaviour = fakes.close_before_reply
        browser.evaluate("refresh()")
        browser.wait_for("N/A", "#summary")

        assert browser.text("#state") == "The upstream does not answer."
        assert "Its last answer came at" in browser.text("#detail")
        assert len(browser.text("#detail").split(" ago. ")[1]) > 20


def test_numbers_that_are_there_say_that_the_upstream_answers(browser: Browser, upstream: EngineProcess) -> None:
    """On a slow machine the first /readyz comes before the first answer of the upstream, and says so."""
    with serving(upstream) as url:
        browser.send(
            "Page.addScriptToEvaluateOnNewDocument",
            source="const asked = window.fetch; window.fetch = (url, options) => String(url).endsWith('/readyz') "
            '? Promise.resolve(new Response(\'{"status": "degraded"}\')) : asked(url, options)',
        )
        browser.go(f"{url}/")
        browser.wait_for("120 requests/min", "#summary")

        assert browser.text("#state") == "The upstream answers."


def test_a_refresh_moves_nothing(browser: Browser, upstream: EngineProcess) -> None:
    """An element that shows the same after a refresh is the same one: no flicker, and a selection stays."""
    with serving(upstream) as url:
        browser.go(f"{url}/")
        browser.wait_for("120 requests/min", "#summary")
        browser.evaluate("window.before = [...document.querySelectorAll('#numbers *')]; refresh()")
        same = "[...document.querySelectorAll('#numbers *')].filter((node) => window.before.includes(node)).length"

        assert browser.evaluate(same) == browser.evaluate("window.before.length") > 100


def test_it_asks_for_a_token_by_keyboard_and_keeps_it_nowhere(browser: Browser, upstream: EngineProcess) -> None:
    with serving(upstream, api_tokens=(TOKEN,)) as url:
        browser.go(f"{url}/")
        browser.wait_for("This service asks for a token", "header")
        assert "120" not in browser.text("#numbers")

        # The field has the focus already.
        browser.send("Input.insertText", text="wrong")
        browser.press_enter()
        browser.wait_for("That token is not accepted.", "#refused")
        browser.send("Input.insertText", text=TOKEN)
        browser.press_enter()
        browser.wait_for("120 requests/min", "#summary")

        kept = "[localStorage.length, sessionStorage.length, document.cookie, location.href, document.body.innerHTML]"
        assert browser.evaluate(kept)[:4] == [0, 0, "", f"{url}/"]
        assert TOKEN not in browser.evaluate(kept)[4]
        assert "httpHeaderValue1: Bearer $GATEWAYZ_METRICS_TOKEN" in browser.text("pre")


def test_the_upstream_is_watched_while_a_token_is_awaited(browser: Browser, upstream: EngineProcess) -> None:
    with serving(upstream, api_tokens=(TOKEN,)) as url:
        browser.go(f"{url}/")
        browser.wait_for("This service asks for a token", "header")
        assert browser.text("#state") == "The upstream answers."
        upstream.stop()
        browser.wait_for("The upstream does not answer.", "#state")
        detail = browser.text("#detail")
        assert detail.startswith("Seen since ")
        assert detail.endswith(" ago. Its reason is told to those with a token.")

        # What needs a token is not asked for again and again.
        assert len([asked for asked in browser.requested if asked.endswith("/summary")]) == 1


def test_a_service_that_is_gone_is_told(browser: Browser, upstream: EngineProcess) -> None:
    with serving(upstream) as url:
        browser.go(f"{url}/")
        browser.wait_for("120 requests/min", "#summary")

    browser.wait_for("This service does not answer.", "#state")
    # What is shown says how old it is.
    assert "120 requests/min" in browser.text("#summary")
    assert "What stands below is from before." in browser.text("#detail")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_a_phone_in_both_themes(browser: Browser, upstream: EngineProcess, dark: bool) -> None:
    with serving(upstream) as url:
        browser.look(width=390, dark=dark)
        browser.go(f"{url}/status")
        browser.wait_for("120 requests/min", "#summary")

        assert browser.evaluate("document.documentElement.scrollWidth") == 390
        # Commands are shown whole, and a reason has the width of its card.
        assert browser.evaluate("(box => box.scrollWidth - box.clientWidth)(document.querySelector('.shell'))") == 0
        why = (
            "document.querySelector('.why:not([hidden]) td').clientWidth / document.querySelector('table').clientWidth"
        )
        assert browser.evaluate(why) > 0.95
        color = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert color == ("rgb(16, 20, 26)" if dark else "rgb(244, 246, 249)")
