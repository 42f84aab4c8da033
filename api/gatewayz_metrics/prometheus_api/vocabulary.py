"""The parameters of each endpoint of the Prometheus API, those of its relatives included.

https://prometheus.io/docs/prometheus/latest/querying/api/,
https://docs.victoriametrics.com/victoriametrics/url-examples/ and
https://thanos.io/tip/components/query.md/#query-api-overview. An endpoint takes others too and passes them on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gatewayz_metrics.upstream.request import Endpoint


@dataclass(frozen=True, slots=True)
class ApiParameter:
    """A parameter: read once unless it is `repeated`."""

    name: str
    meaning: str
    repeated: bool = False
    required: bool = False
    example: str = ""


_QUERY = ApiParameter("query", "A PromQL expression.", required=True, example="up")
_MOMENT = "Unix seconds, or RFC 3339."
_START = ApiParameter("start", f"The first moment: {_MOMENT}")
_END = ApiParameter("end", f"The last moment, inclusive: {_MOMENT}")
_MATCH = ApiParameter("match[]", "A selector of series; may be repeated.", repeated=True, example="up")
_LIMIT = ApiParameter("limit", "The most entries of the answer; 0 for all.")
# What changes how an engine evaluates, of instant queries and range queries alike.
_EVALUATION = (
    ApiParameter("timeout", "How long the evaluation may take: a duration such as `30s`, or seconds."),
    _LIMIT,
    ApiParameter("lookback_delta", "How old a sample may be that counts as the value of a moment: a duration."),
    ApiParameter("stats", "Whether the answer tells what the evaluation cost, such as `all`."),
    ApiParameter("nocache", "`1` to have everything computed again; VictoriaMetrics reads it too."),
    ApiParameter("dedup", "Thanos: whether replicas count once."),
    ApiParameter("partial_response", "Thanos: whether an answer may lack what some stores hold."),
    ApiParameter("max_source_resolution", "Thanos: the coarsest resolution that may be read: a duration."),
)
_STEP = ApiParameter("step", "From one point to the next: a duration such as `15s`, or seconds.")
_OWN_WINDOW = ApiParameter("nocache", "`1` to have start and end as they are, not as whole minutes, and nothing kept.")
_SELECTION = (_START, _END, _MATCH, _LIMIT, _OWN_WINDOW)
_NO_PARAMETERS: tuple[ApiParameter, ...] = ()

PARAMETERS: Mapping[Endpoint, tuple[ApiParameter, ...]] = {
    Endpoint.QUERY: (
        _QUERY,
        ApiParameter("time", f"The moment: {_MOMENT} Now when absent."),
        replace(_STEP, meaning="VictoriaMetrics: how far back a value may lie: a duration, or seconds."),
        *_EVALUATION,
    ),
    Endpoint.QUERY_RANGE: (
        _QUERY,
        *(
            replace(each, required=True, example=example)
            for each, example in ((_START, "1760000000"), (_END, "1760003600"), (_STEP, "60"))
        ),
        *_EVALUATION,
    ),
    Endpoint.QUERY_EXEMPLARS: (_QUERY, _START, _END),
    Endpoint.LABELS: _SELECTION,
    Endpoint.LABEL_VALUES: _SELECTION,
    Endpoint.SERIES: (_START, _END, replace(_MATCH, required=True), _LIMIT, _OWN_WINDOW),
    Endpoint.METADATA: (
        ApiParameter("limit", "The most metrics of the answer."),
        ApiParameter("limit_per_metric", "The most entries of each metric."),
        ApiParameter("metric", "The metric that is asked about. All when absent."),
    ),
    Endpoint.RULES: (
        ApiParameter("type", "`alert` or `record` for rules of one kind."),
        *(
            ApiParameter(name, f"A {noun} to narrow to; may be repeated.", repeated=True)
            for name, noun in (("rule_name[]", "rule"), ("rule_group[]", "group of rules"), ("file[]", "file of rules"))
        ),
        ApiParameter("exclude_alerts", "`true` to leave active alerts out."),
        replace(_MATCH, meaning="A selector of rules by their labels; may be repeated.", example=""),
        ApiParameter("group_limit", "The most groups of the answer."),
        ApiParameter("group_next_token", "Where the answer before this one ended."),
    ),
    Endpoint.ALERTS: _NO_PARAMETERS,
    Endpoint.BUILDINFO: _NO_PARAMETERS,
    Endpoint.FORMAT_QUERY: (_QUERY,),
    Endpoint.PARSE_QUERY: (_QUERY,),
}


def _list_all() -> Iterator[ApiParameter]:
    for parameters in PARAMETERS.values():
        yield from parameters


# The names of which only the first value counts.
READ_ONCE = frozenset(each.name for each in _list_all() if not each.repeated)
