"""Requests of the Prometheus API put to the caches, within the limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from fastapi import Request

from gatewayz_metrics.errors import LimitExceeded, NotServed, UpstreamError
from gatewayz_metrics.prometheus_api.envelope import render_success
from gatewayz_metrics.prometheus_api.parameters import RequestParams, parse_range, read_params
from gatewayz_metrics.promql.times import TimeRange, format_seconds
from gatewayz_metrics.range_cache import CacheStatus, RangeQuery
from gatewayz_metrics.service import Service
from gatewayz_metrics.upstream.limits import check_range
from gatewayz_metrics.upstream.request import UNRESTRICTED, ApiRequest, ApiResponse, Endpoint, Pairs, Tenant

# The first whose label endpoints take match[]; Grafana chooses its calls by it.
_ASSUMED_VERSION = "2.24.0"
# What has no label to restrict a tenant by.
_UNSCOPED: dict[Endpoint, object] = {
    Endpoint.METADATA: {},
    Endpoint.RULES: {"groups": []},
    Endpoint.ALERTS: {"alerts": []},
}


@dataclass(frozen=True, slots=True)
class ApiReply:
    """What a route sends."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiHandlers:
    """Finds, for a request, the cache that answers it."""

    def __init__(self, service: Service) -> None:
        self._settings = service.settings
        self._answers = service.responses
        self._ranges = service.range_cache
        self._versions: dict[Tenant, ApiResponse] = {}

    async def ask(self, endpoint: Endpoint, request: Request) -> ApiReply:
        """The answer to a request. Raises what the limits and the upstream's client raise."""
        form = await read_params(request, self._settings.max_query_length)
        tenant: Tenant = request.state.tenant
        if tenant != UNRESTRICTED:
            form = RequestParams(form.without(*self._settings.engine.narrowing))
        if tenant.is_label_restricted and endpoint in _UNSCOPED:
            return ApiReply(200, render_success(_UNSCOPED[endpoint]))
        self._check_length(form)
        call = ApiRequest(endpoint, form.pairs, request.path_params.get("name", ""), tenant)
        is_alert = request.headers.get("fromalert") == "true" and not self._settings.cache_alerts
        match endpoint:
            case Endpoint.QUERY_RANGE:
                return await self._range(call, form, is_alert=is_alert)
            case Endpoint.BUILDINFO:
                return await self._buildinfo(call)
            case _:
                return await self._whole(call, fresh=is_alert and endpoint is Endpoint.QUERY)

    async def _whole(self, call: ApiRequest, *, fresh: bool) -> ApiReply:
        raw, age = await self._answers.get(call, fresh=fresh)
        headers = {"X-Cache": "miss"} if age is None else {"X-Cache": "hit", "Age": f"{age:.0f}"}
        return ApiReply(raw.status, raw.body, headers)

    async def _range(self, call: ApiRequest, form: RequestParams, *, is_alert: bool) -> ApiReply:
        asked = parse_range(form)
        self._check_span(asked)
        if asked is None or form.get("query") is None:
            raw, _ = await self._answers.get(call)
            return ApiReply(raw.status, raw.body, _cache_headers(CacheStatus("bypass", "parameters")))
        bypass = "alert" if is_alert else "request" if form.get("nocache") == "1" else ""
        extra = form.without("query", "start", "end", "step")
        given: Pairs = tuple((name, form.get(name) or "") for name in ("start", "end", "step"))
        answer = await self._ranges.answer(
            RangeQuery(
                form.get("query") or "",
                asked,
                extra,
                call.tenant,
                bypass,
                given,
            )
        )
        return ApiReply(answer.status, answer.body, _cache_headers(answer.cache_status))

    async def _buildinfo(self, call: ApiRequest) -> ApiReply:
        """The upstream's version without `features`, by which Grafana would offer to edit rules."""
        try:
            raw, _ = await self._answers.get(call)
        except NotServed:
            return ApiReply(200, render_success({"version": _ASSUMED_VERSION}))
        except UpstreamError:
            if call.tenant not in self._versions:
                raise
            raw = self._versions[call.tenant]
        if raw.is_success:
            self._versions[call.tenant] = raw
        return ApiReply(raw.status, _without_features(raw.body))

    def _check_length(self, form: RequestParams) -> None:
        longest = self._settings.max_query_length
        for name, value in form.pairs:
            if name in ("query", "match[]") and len(value) > longest:
                raise LimitExceeded(f"The query has {len(value):,} characters", "MAX_QUERY_LENGTH", f"{longest:,}")

    def _check_span(self, asked: TimeRange | None) -> None:
        if asked is not None:
            check_range(asked, self._settings)
        elif longest := self._settings.max_range:
            raise LimitExceeded("The range cannot be told", "MAX_RANGE", f"{longest:g} seconds")


def _cache_headers(status: CacheStatus) -> dict[str, str]:
    parts = [status.result, f"reason={status.reason}" if status.reason else ""]
    if status.fetched:
        ranges = ",".join(f"{format_seconds(start)}-{format_seconds(end)}" for start, end in status.fetched)
        parts.append(f"fetched=[{ranges}]")
    headers = {"X-Cache": "; ".join(part for part in parts if part)}
    return headers | {"Age": f"{status.age:.0f}"} if status.result in ("hit", "partial") else headers


def _without_features(body: bytes) -> bytes:
    document = orjson.loads(body)
    if isinstance(document.get("data"), dict):
        document["data"].pop("features", None)
    return orjson.dumps(document)
