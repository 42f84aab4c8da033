"""Range queries answered from what is known already; only what is missing or too new is asked for.

    range_cache = service.range_cache
    answer = await range_cache.answer(RangeQuery(query, TimeRange(start_ms, end_ms, step_ms)))
    answer.status, answer.body    the Prometheus API's own envelope, bytes, as the upstream would have sent it
    answer.cache_status           hit, partial, miss, bypass or stale, with the reason, what was fetched and the age

A refusal in the protocol's words (400, 422, 503 with an envelope) is an answer with that status;
`upstream.answer.refusal_in(answer.body)` turns it into QueryRefused. Everything else that can go
wrong raises an UpstreamError, unless the query `may_be_stale` and some of its points are kept.
Times are whole milliseconds, and points stand at start, start + step, ... up to end, both included.
"""

from gatewayz_metrics.range_cache.cache import RangeCache
from gatewayz_metrics.range_cache.range_query import CacheStatus, RangeAnswer, RangeQuery

__all__ = ["CacheStatus", "RangeAnswer", "RangeCache", "RangeQuery"]
