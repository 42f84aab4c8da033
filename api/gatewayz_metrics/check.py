"""The acceptance check of a deployment: requests every metrics route and the other surfaces, and reads the content.

A status of 200 is not enough: a service that answers "N/A" everywhere fails. Expositions are read
by the parser of prometheus_client, which is independent of the code that writes them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gatewayz_metrics.catalogue import Catalogue, Family
from gatewayz_metrics.metrics_api.summary import MISSING

ContentCheck = Callable[[str, httpx.Response], Iterator["Finding"]]

_PREFIX = "/prometheus/metrics"
# How old the summary's timestamp may be: an answer from our cache is some seconds old, clocks differ a little.
_FRESH_SECONDS = 60
_TRIES = 3
# Milliseconds for the median of the tries; all but the first can come from the cache.
_SUMMARY_LIMIT, _CATEGORY_LIMIT, _PAGE_LIMIT = 50, 100, 200


@dataclass(frozen=True)
class Finding:
    """The result of one check on one route; `detail` gives the measured value or the reason."""

    route: str
    what: str
    ok: bool
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Page:
    """The last response of a route and the median duration of _TRIES requests."""

    response: httpx.Response
    milliseconds: float


class Check:
    """Checks one deployment against a catalogue; the client has its base URL and its token.

    `prometheus_api` and `json_datasource` are the paths below which the other surfaces are served. With None they may
    be at the root or missing, as in a host that serves the metrics routes alone. `progress` hears of every route before
    it is asked.
    """

    def __init__(
        self,
        client: httpx.Client,
        catalogue: Catalogue,
        *,
        prometheus_api: str | None = None,
        json_datasource: str | None = None,
        progress: Callable[[str], object] = str,
    ) -> None:
        self._client = client
        self._catalogue = catalogue
        self._progress = progress
        self._prometheus_api = prometheus_api
        self._json_datasource = json_datasource

    def run(self) -> Iterator[Finding]:
        """Every finding, route by route; one alone where nothing answers, or where the token is not accepted."""
        if hindrance := self._find_hindrance():
            yield hindrance
            return
        yield from self._check_route("summary", "application/json", _SUMMARY_LIMIT, self._check_summary)
        for category in self._catalogue.categories:
            yield from self._check_route(category, "text/plain", _CATEGORY_LIMIT, self._check_text)
        yield from self._check_route("all", "text/plain", _PAGE_LIMIT, self._check_text)
        yield from self._check_route("docs", "text/markdown", _PAGE_LIMIT, self._check_docs)
        yield from self._check_prometheus_api()
        yield from self._check_json_datasource()
        yield from self._check_token()

    def _find_hindrance(self) -> Finding | None:
        """What would be said of every route alike, each after the same wait."""
        url = self._client.base_url
        self._progress(f"Asking {url}")
        try:
            status = self._client.get(f"{_PREFIX}/docs").status_code
        except httpx.TimeoutException:
            seconds = self._client.timeout.read
            return Finding("service", "answers", ok=False, detail=f"{url} does not answer within {seconds:g} s.")
        except httpx.TransportError as exc:
            detail = f"{url} cannot be reached ({exc}); check the URL and that the service runs."
            return Finding("service", "answers", ok=False, detail=detail)
        if status == 401:
            is_shown = "authorization" in self._client.headers
            detail = "It does not accept this token." if is_shown else "It asks for a token: --token, or API_TOKEN."
            return Finding("token", "is accepted", ok=False, detail=detail)
        return None

    def _check_prometheus_api(self) -> Iterator[Finding]:
        """What Grafana's Prometheus datasource asks for first."""
        base = f"{_without_slash(self._prometheus_api)}/api/v1"
        if self._prometheus_api is None and self._is_foreign(f"{base}/status/buildinfo", _is_success):
            yield Finding("/api/v1", "is served", ok=True, detail="not served here")
            return
        now = time.time()
        span = {"query": "vector(1)", "start": now - 300, "end": now, "step": 60}
        for path, params, kind in (
            ("status/buildinfo", {}, dict),
            ("query", {"query": "vector(1)"}, dict),
            ("query_range", span, dict),
            ("labels", {"start": now - 300, "end": now}, list),
        ):
            is_right = partial(_is_success, kind=kind)
            yield self._ask("/api/v1", path, f"{base}/{path}", is_right, "GET", params=params)

    def _check_json_datasource(self) -> Iterator[Finding]:
        """Save & test, the list of metrics, and one statistic of the catalogue."""
        base = _without_slash(self._json_datasource)
        if self._json_datasource is None and self._is_foreign("/", _is_ready):
            yield Finding("json", "is served", ok=True, detail="not served here")
            return
        yield self._ask("json", "/", f"{base}/", _is_ready, "GET")
        yield self._ask(
            "json", "/search", f"{base}/search", lambda body: isinstance(body, list) and bool(body), json={}
        )
        to = datetime.now(UTC)
        ask: dict[str, Any] = {
            "range": {"from": (to - timedelta(minutes=5)).isoformat(), "to": to.isoformat()},
            "intervalMs": 15_000,
            "maxDataPoints": 20,
            "targets": [{"refId": "A", "target": each.name} for each in self._catalogue.statistics[:1]],
        }
        yield self._ask("json", "/query", f"{base}/query", lambda body: isinstance(body, list), json=ask)

    def _check_token(self) -> Iterator[Finding]:
        """Whether a service that was shown a token refuses whoever shows none."""
        if "authorization" not in self._client.headers:
            return
        request = self._client.build_request("GET", f"{_PREFIX}/docs")
        del request.headers["authorization"]
        try:
            status = self._client.send(request).status_code
        except httpx.HTTPError as exc:
            yield Finding("token", "is required", ok=False, detail=f"{type(exc).__name__}: {exc}")
            return
        yield Finding("token", "is required", status == 401, f"HTTP {status} without it")

    def _is_foreign(self, url: str, is_ours: Callable[[Any], bool]) -> bool:
        """Whether there is nothing at a URL, or a page of the host that we are a guest of."""
        try:
            response = self._client.get(url)
            return response.status_code in (404, 405) or (response.status_code == 200 and not is_ours(response.json()))
        except httpx.HTTPError:
            return False
        except ValueError:
            return True

    def _ask(
        self, route: str, what: str, url: str, is_right: Callable[[Any], bool], method: str = "POST", **request: Any
    ) -> Finding:
        """One request to another surface."""
        self._progress(f"Asking {url}")
        try:
            response = self._client.request(method, url, **request)
            ok = response.status_code == 200 and is_right(response.json())
        except (httpx.HTTPError, ValueError) as exc:
            return Finding(route, what, ok=False, detail=f"{type(exc).__name__}: {exc}")
        return Finding(route, what, ok, f"HTTP {response.status_code}: {response.text[:80].strip()}")

    def _check_route(self, name: str, media_type: str, limit: float, check: ContentCheck) -> Iterator[Finding]:
        self._progress(f"Asking {_PREFIX}/{name}")
        try:
            page = self._fetch(name)
        except httpx.HTTPError as exc:
            yield Finding(name, "answers", ok=False, detail=f"{type(exc).__name__}: {exc}")
            return
        status = page.response.status_code
        yield Finding(name, "answers", status == 200, f"HTTP {status}")
        if status != 200:
            return
        found = page.response.headers.get("content-type", "none")
        yield Finding(name, "content type", found.partition(";")[0] == media_type, found)
        yield Finding(name, "latency", page.milliseconds < limit, f"{page.milliseconds:.1f} ms, limit {limit:g} ms")
        yield from check(name, page.response)

    def _fetch(self, name: str) -> Page:
        seconds = []
        for _ in range(_TRIES):
            started = time.perf_counter()
            response = self._client.get(f"{_PREFIX}/{name}")
            seconds.append(time.perf_counter() - started)
        return Page(response, 1000 * median(seconds))

    def _check_summary(self, name: str, response: httpx.Response) -> Iterator[Finding]:
        try:
            document = response.json()
            metrics = document["metrics"]
            age = (datetime.now(UTC) - datetime.fromisoformat(document["timestamp"])).total_seconds()
        except (ValueError, KeyError, TypeError) as exc:
            yield Finding(name, "is the summary", ok=False, detail=f"{type(exc).__name__}: {exc}")
            return
        yield Finding(name, "is fresh", abs(age) < _FRESH_SECONDS, f"{age:.0f} s old")
        wanted = [(statistic.section, statistic.key) for statistic in self._catalogue.statistics]
        missing = [f"{section}.{key}" for section, key in wanted if key not in metrics.get(section, {})]
        yield Finding(name, "sections and keys", not missing, _join(missing) or f"all {len(wanted)}")
        yield from self._check_values(name, document, [metrics.get(section, {}).get(key) for section, key in wanted])

    def _check_values(self, name: str, document: dict[str, Any], values: list[object]) -> Iterator[Finding]:
        failures = [f"{key}: {why}" for key, why in document.get("errors", {}).items()]
        outage = document.get("error")
        yield Finding(name, "upstream answers", not outage and not failures, outage or _join(failures) or "yes")
        known = sum(value not in (None, MISSING) for value in values)
        yield Finding(name, "has values", known > 0, f"{known} of {len(values)}; the others are absent, expected")

    def _check_text(self, name: str, response: httpx.Response) -> Iterator[Finding]:
        try:
            parsed = [family.name for family in text_string_to_metric_families(response.text)]
        except ValueError as exc:
            yield Finding(name, "parses", ok=False, detail=str(exc))
            return
        # A family twice on one page is invalid, and a scraper may reject all of it.
        doubled = sorted({family for family in parsed if parsed.count(family) > 1})
        yield Finding(name, "parses", not doubled, f"twice: {_join(doubled)}" if doubled else f"{len(parsed)} families")
        families = self._catalogue.in_category(None if name == "all" else name)
        comments = [line for line in response.text.splitlines() if line.startswith("# ")]
        missing = [f.name for f in families if _parsed_name(f) not in parsed and not _has_comment(f, comments)]
        yield Finding(name, "families", not missing, _join(missing) or "all present or named as absent")
        failed = [line[2:] for line in comments if _is_failure(line, families)]
        with_data = any(line and not line.startswith("#") for line in response.text.splitlines())
        # Absence is a deployment's normal case, as long as it is told for each family and not for all there are.
        absent = [f.name for f in families if f"# {f.name}: no data" in comments]
        is_told = name != "all" and len(absent) == len(families)
        found = f"absent, expected: {_join(absent)}" if absent else "has samples" if with_data else "no samples"
        yield Finding(name, "upstream answers", (with_data or is_told) and not failed, _join(failed) or found)

    def _check_docs(self, name: str, response: httpx.Response) -> Iterator[Finding]:
        names = [entry.name for entry in (*self._catalogue.families, *self._catalogue.statistics)]
        missing = [entry for entry in names if f"`{entry}`" not in response.text]
        yield Finding(name, "documents everything", not missing, _join(missing) or f"all {len(names)}")


def _without_slash(path: str | None) -> str:
    return (path or "").rstrip("/")


def _is_ready(body: Any) -> bool:
    """Whether a body is what the JSON datasource's connection test gets."""
    return bool(body == {"status": "ok"})


def _is_success(body: Any, kind: type = dict) -> bool:
    """Whether a body is Prometheus' envelope around data of a kind."""
    return isinstance(body, dict) and body.get("status") == "success" and isinstance(body.get("data"), kind)


def _parsed_name(family: Family) -> str:
    """The name under which the parser reports a family: it drops `_total` from counters."""
    return family.name.removesuffix("_total") if family.type == "counter" else family.name


def _has_comment(family: Family, comments: list[str]) -> bool:
    return any(line.startswith(f"# {family.name}: ") for line in comments)


def _is_failure(line: str, families: tuple[Family, ...]) -> bool:
    """Whether a comment gives the reason why a family failed; `no data` is no failure."""
    return any(line.startswith(f"# {f.name}: ") and not line.endswith(": no data") for f in families)


def _join(texts: list[str]) -> str:
    return "; ".join(texts[:5]) + (f"; and {len(texts) - 5} more" if len(texts) > 5 else "")
