"""Requests of the Prometheus API put to the caches, within the limits."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import orjson
from fastapi import Request

from gatewayz_metrics.caller_limits import check_length, check_lookback, check_points, check_range, earliest_start
from gatewayz_metrics.errors import NotServed, PromqlOff, RequestError, UpstreamError
from gatewayz_metrics.http.rules import is_for_rule
from gatewayz_metrics.lease import Lease
from gatewayz_metrics.prometheus_api.envelope import render_success
from gatewayz_metrics.prometheus_api.metadata import complete_metadata
from gatewayz_metrics.prometheus_api.parameters import RequestParams, parse_range, read_label, read_params
from gatewayz_metrics.promql.parser import QueryText
from gatewayz_metrics.promql.times import format_seconds, parse_time
from gatewayz_metrics.range_cache import CacheStatus, RangeQuery
from gatewayz_metrics.service import Service
from gatewayz_metrics.upstream.request import UNRESTRICTED, ApiRequest, ApiResponse, Endpoint, Pairs, Tenant
from gatewayz_metrics.upstream.response import decode_object

# The first whose label endpoints take match[]; Grafana chooses its calls by it.
_ASSUMED_VERSION = "2.24.0"
# What has no label to restrict a tenant by.
_UNSCOPED: dict[Endpoint, object] = {
    Endpoint.METADATA: {},
    Endpoint.RULES: {"groups": []},
    Endpoint.ALERTS: {"alerts": []},
}
# What is PromQL, and parameters that are selectors wherever they stand.
_QUERIES = frozenset([Endpoint.QUERY, Endpoint.QUERY_RANGE, Endpoint.QUERY_EXEMPLARS])
_PROMQL = _QUERIES | {Endpoint.SERIES, Endpoint.FORMAT_QUERY, Endpoint.PARSE_QUERY}
_SELECTING = frozenset(["match[]", "match"])
# What reads the time between a start and an end.
_RANGED = frozenset(
    [Endpoint.QUERY_RANGE, Endpoint.QUERY_EXEMPLARS, Endpoint.LABELS, Endpoint.LABEL_VALUES, Endpoint.SERIES]
)
# What is asked at times that callers share, unless they say nocache=1.
_AT_TIMES = frozenset([Endpoint.QUERY, Endpoint.LABELS, Endpoint.LABEL_VALUES, Endpoint.SERIES])
# Characters of all parameters that are no PromQL, together: times, limits, and what we do not know.
_LONGEST_REST = 16_384


def _no_lease() -> Lease | None:
    return None


@dataclass(frozen=True, slots=True)
class ApiReply:
    """What a route sends."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    # Finds out for how long it may be given again.
    find_lease: Callable[[], Lease | None] = _no_lease


class ApiHandlers:
    """Finds, for a request, the cache that answers it."""

    def __init__(self, service: Service) -> None:
        self._settings = service.settings
        self._answers = service.responses
        self._ranges = service.range_cache
        self._catalogue = service.layer.catalogue
        self._versions: dict[Tenant, ApiReply] = {}

    async def ask(self, endpoint: Endpoint, request: Request) -> ApiReply:
        """The answer to a request. Raises what the limits and the upstream's client raise."""
        form = await read_params(request, self._settings.max_query_length)
        tenant: Tenant = request.state.tenant
        if tenant != UNRESTRICTED:
            form = RequestParams(form.without(*self._settings.engine.narrowing, *self._settings.engine.revealing))
        if tenant.is_label_restricted and endpoint in _UNSCOPED:
            return ApiReply(200, render_success(_UNSCOPED[endpoint]))
        self._check_promql(endpoint, form)
        self._check_length(form)
        query = form.get("query") if endpoint in _QUERIES else None
        text = None if query is None else QueryText(query)
        follows_clock = self._follows_clock(endpoint, form)
        form = self._limit_range(endpoint, form, text)
        call = ApiRequest(endpoint, form.pairs, read_label(request), tenant, text=text)
        is_alert = request.headers.get("fromalert") == "true" and not self._settings.cache_alerts
        renew = _wants_new(request)
        match endpoint:
            case Endpoint.QUERY_RANGE:
                may_be_stale = not is_for_rule(request.headers)
                return await self._range(call, form, is_alert=is_alert, may_be_stale=may_be_stale, renew=renew)
            case Endpoint.BUILDINFO:
                return await self._buildinfo(call, renew=renew)
            case Endpoint.METADATA:
                reply = await self._whole(call, fresh=False, renew=renew, exact=False)
                if reply.status != 200:
                    return reply
                return replace(reply, body=complete_metadata(reply.body, form, self._catalogue))
            case _:
                is_past_caches = endpoint in _AT_TIMES and _wants_nothing_kept(form)
                fresh = is_past_caches or (is_alert and endpoint is Endpoint.QUERY)
                reply = await self._whole(call, fresh=fresh, renew=renew, exact=is_for_rule(request.headers))
                return replace(reply, find_lease=_no_lease) if follows_clock else reply

    async def _whole(self, call: ApiRequest, *, fresh: bool, renew: bool, exact: bool) -> ApiReply:
        raw, age = await self._answers.get(call, fresh=fresh, renew=renew, exact=exact)
        if age is None:
            return ApiReply(raw.status, raw.body, {"X-Cache": "miss"})
        headers = {"X-Cache": "hit", "Age": f"{age:.0f}"}
        return ApiReply(raw.status, raw.body, headers, lambda: self._answers.lease(call, raw))

    async def _range(
        self, call: ApiRequest, form: RequestParams, *, is_alert: bool, may_be_stale: bool, renew: bool
    ) -> ApiReply:
        asked = parse_range(form)
        if asked is not None:
            check_points(asked, self._settings.max_points)
        if asked is None or form.get("query") is None:
            raw, _ = await self._answers.get(call, renew=renew)
            return ApiReply(raw.status, raw.body, _cache_headers(CacheStatus("bypass", "parameters")))
        bypass = "alert" if is_alert else "request" if _wants_nothing_kept(form) else ""
        extra = form.without("query", "start", "end", "step")
        given: Pairs = tuple((name, form.get(name) or "") for name in ("start", "end", "step"))
        answer = await self._ranges.answer(
            RangeQuery(
                form.get("query") or "",
                asked,
                extra,
                call.tenant,
                bypass,
                may_be_stale=may_be_stale,
                given=given,
                text=call.text,
                renew=renew,
            )
        )
        return ApiReply(answer.status, answer.body, _cache_headers(answer.cache_status), lambda: answer.lease)

    async def _buildinfo(self, call: ApiRequest, *, renew: bool) -> ApiReply:
        """The upstream's version without `features`, by which Grafana would offer to edit rules."""
        try:
            raw, _ = await self._answers.get(call, renew=renew)
            body = _without_features(raw)
        except NotServed:
            return ApiReply(200, render_success({"version": _ASSUMED_VERSION}))
        except UpstreamError:
            if call.tenant not in self._versions:
                raise
            return self._versions[call.tenant]
        reply = ApiReply(raw.status, body)
        if raw.is_success:
            # Only what could be read: it answers for the upstream while that is down.
            self._versions[call.tenant] = reply
        return replace(reply, find_lease=lambda: self._answers.lease(call, raw))

    def _check_promql(self, endpoint: Endpoint, form: RequestParams) -> None:
        """Raise PromqlOff for every question in which a caller writes PromQL or a selector, unless that is allowed."""
        if self._settings.allow_promql:
            return
        selecting = _SELECTING.union(self._settings.engine.narrowing)
        if endpoint in _PROMQL or any(name in selecting for name, _ in form.pairs):
            raise PromqlOff

    def _check_length(self, form: RequestParams) -> None:
        longest = self._settings.max_query_length
        for text in ("query", "match[]"):
            check_length(sum(len(value) for name, value in form.pairs if name == text), longest)
        rest = sum(len(name) + len(value) for name, value in form.pairs if name not in ("query", "match[]"))
        if rest > _LONGEST_REST:
            raise RequestError(
                f"The parameters beside query and match[] have {rest:,} characters; {_LONGEST_REST:,} are allowed."
            )

    def _follows_clock(self, endpoint: Endpoint, form: RequestParams) -> bool:
        """Whether MAX_RANGE makes another question of the same request as time goes on."""
        return bool(self._settings.max_range) and endpoint in _RANGED and form.get("end") is None

    def _limit_range(self, endpoint: Endpoint, form: RequestParams, query: QueryText | None) -> RequestParams:
        """The request, if it reads no more time than MAX_RANGE allows; a list without a start gets one."""
        longest = self._settings.max_range
        if not longest:
            return form
        if endpoint in _QUERIES:
            check_lookback(query or QueryText(""), longest)
        if endpoint not in _RANGED:
            return form
        if endpoint is Endpoint.QUERY_RANGE:
            asked = parse_range(form)
            check_range(None if asked is None else asked.length_ms, longest)
            return form
        end = round(time.time() * 1000) if form.get("end") is None else parse_time(form.get("end") or "")
        if form.get("start") is None and endpoint is not Endpoint.QUERY_EXEMPLARS and end is not None:
            # Prometheus would read everything that it has.
            return form.with_pair("start", format_seconds(earliest_start(end, longest)))
        start = parse_time(form.get("start") or "")
        check_range(None if start is None or end is None else end - start, longest)
        return form


def _wants_new(request: Request) -> bool:
    """Whether a caller takes no answer that was kept (RFC 9111, 5.2.1.4)."""
    directives = ",".join(request.headers.getlist("cache-control")).lower().split(",")
    return "no-cache" in map(str.strip, directives)


def _wants_nothing_kept(form: RequestParams) -> bool:
    """Whether a caller wants the upstream's own answer, of which nothing stays here."""
    return form.get("nocache") == "1"


def _cache_headers(status: CacheStatus) -> dict[str, str]:
    parts = [status.result, f"reason={status.reason}" if status.reason else ""]
    if status.fetched:
        ranges = ",".join(f"{format_seconds(start)}-{format_seconds(end)}" for start, end in status.fetched)
        parts.append(f"fetched=[{ranges}]")
    headers = {"X-Cache": "; ".join(part for part in parts if part)}
    if status.result == "stale":
        headers["Cache-Control"] = "no-store"
    return headers | {"Age": f"{status.age:.0f}"} if status.result in ("hit", "partial", "stale") else headers


def _without_features(answer: ApiResponse) -> bytes:
    """The body without the list of features. Raises BadAnswer for what is no envelope."""
    if not answer.is_success:
        return answer.body
    document = decode_object(answer.body)
    if isinstance(document.get("data"), dict):
        document["data"].pop("features", None)
    return orjson.dumps(document)
