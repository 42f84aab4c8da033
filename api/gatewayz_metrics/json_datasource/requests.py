"""What the JSON datasource plugins send, both generations; read leniently, as their fields come and go.

The clients: https://github.com/simPod/GrafanaJsonDatasource and, before it,
https://github.com/grafana/simple-json-datasource. Null and absent mean the same to both.
"""

import re
from math import isfinite
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from gatewayz_metrics.http.bodies import decode_json, to_model
from gatewayz_metrics.promql.matchers import MOST_FILTERS, Filter
from gatewayz_metrics.promql.times import parse_rfc3339, require_date

# Characters; Grafana's are single letters, or names that people give to queries.
LONGEST_REF_ID = 200
_INTEGER = re.compile(r"-?[0-9]{1,20}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if isinstance(value, dict | list | bool) else str(value)


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever a client sends: float() is the judge
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isfinite(number) and number > 0 else None


def _moment(value: object) -> int:
    """Unix milliseconds from RFC 3339, or from a number or its text.

    Numbers count milliseconds here and seconds everywhere else, as that is what Grafana's `dateTime` and the
    plugins count in.
    """
    ms: int | None = None
    if isinstance(value, str):
        ms = int(value) if _INTEGER.fullmatch(value) else parse_rfc3339(value)
    elif isinstance(value, int | float) and isfinite(value):
        ms = int(value)
    return require_date(ms, str(value), "Unix milliseconds such as 1735041600000")


def _items(value: object) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _filters(value: object) -> tuple[Filter, ...]:
    items = _items(value)
    if len(items) > MOST_FILTERS:
        raise ValueError(f"there are {len(items):,} filters, and {MOST_FILTERS} are allowed")
    return tuple(map(Filter.of, items))


def _json_text(value: object) -> object:
    """Stored annotations keep their payload as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return decode_json(value.encode())
    except orjson.JSONDecodeError:
        return value


Text = Annotated[str, BeforeValidator(_text)]
_MOMENT_SCHEMA: dict[str, Any] = {"type": ["string", "number", "null"]}
Moment = Annotated[int, BeforeValidator(_moment), WithJsonSchema(_MOMENT_SCHEMA)]
Positive = Annotated[float | None, BeforeValidator(_positive)]
Filters = Annotated[tuple[Filter, ...], BeforeValidator(_filters)]
Anything = Annotated[Any, BeforeValidator(_json_text)]


class PluginRequest(BaseModel):
    """A request of a plugin: unknown fields are ignored, null is absent."""

    model_config = ConfigDict(extra="ignore", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        if data is None:
            return {}
        return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


class DashboardRange(PluginRequest):
    """The dashboard's range: RFC 3339, or Unix milliseconds; `raw` may hold anything and is not read."""

    from_: Moment | None = Field(None, alias="from")
    to: Moment | None = None


class Target(PluginRequest):
    """One query of a panel."""

    # Repeated in everything that is said about the target.
    ref_id: Text = Field("", alias="refId", max_length=LONGEST_REF_ID)
    target: Text = ""
    payload: Anything = Field(default_factory=dict)
    # What the payload was called before 2021, https://github.com/simPod/GrafanaJsonDatasource/issues/201.
    data: Anything = Field(default_factory=dict)
    type: Text = ""
    hide: bool = False

    @model_validator(mode="before")
    @classmethod
    def _hide_is_a_flag(cls, data: object) -> object:
        return {**data, "hide": data.get("hide") in (True, "true", 1)} if isinstance(data, dict) else data

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked: a new panel sends an empty text, the first plugin a placeholder."""
        return self.hide or self.target.strip() in ("", "select metric")

    @property
    def is_tag(self) -> bool:
        """Whether the text of an annotation is a tag such as `#deploy`: nothing here has tags, and PromQL it is not."""
        lines = [line.strip() for line in self.target.strip().splitlines()]
        return bool(lines) and all(line.startswith("#") for line in lines if line)


class QueryRequest(PluginRequest):
    """The body of `/query`: Grafana's `DataQueryRequest`, of which only `targets` has to be there."""

    targets: tuple[Target, ...]
    range: DashboardRange = DashboardRange()
    interval_ms: Positive = Field(None, alias="intervalMs")
    max_data_points: Positive = Field(None, alias="maxDataPoints")
    timezone: Text = ""
    filters: Filters = ()
    # The older plugins' name of the same; redux sends both.
    adhoc_filters: Filters = Field((), alias="adhocFilters")
    scoped_vars: Any = Field(None, alias="scopedVars")

    @property
    def all_filters(self) -> tuple[Filter, ...]:
        """The ad-hoc filters, under whichever name, each once."""
        return tuple(dict.fromkeys(self.filters + self.adhoc_filters))

    @property
    def is_annotation(self) -> bool:
        """Whether events are wanted: Grafana tells by a scoped variable, older ones by the refId."""
        marked = isinstance(self.scoped_vars, dict) and "__annotation" in self.scoped_vars
        return marked or any(target.ref_id == "Anno" for target in self.targets)

    @property
    def asked(self) -> tuple[Target, ...]:
        """The targets that ask for something."""
        is_annotation = self.is_annotation
        return tuple(one for one in self.targets if not (one.is_empty or (is_annotation and one.is_tag)))

    @property
    def annotation_name(self) -> str:
        """What the user calls the annotation, where Grafana tells."""
        variable = self.scoped_vars.get("__annotation") if isinstance(self.scoped_vars, dict) else None
        return _text(variable.get("text") or "")[:LONGEST_REF_ID] if isinstance(variable, dict) else ""


class MetricsRequest(PluginRequest):
    """The body of `/metrics`: empty in code mode, the current choice in builder mode."""

    metric: Text = ""
    payload: Any = None


class OptionsRequest(MetricsRequest):
    """The body of `/metric-payload-options`: `name` is the payload whose list was opened."""

    name: Text = ""


class VariableRequest(PluginRequest):
    """The body of `/variable`; `payload` is whatever JSON the user wrote."""

    payload: Anything = None
    range: DashboardRange = DashboardRange()


class SearchRequest(PluginRequest):
    """The body of `/search`: typed text, or a variable's query."""

    target: Text = ""
    range: DashboardRange = DashboardRange()


class TagRequest(PluginRequest):
    """The body of `/tag-keys` and `/tag-values`: the other filters, and the key whose values are wanted."""

    key: Text = ""
    filters: Filters = ()
    time_range: DashboardRange = Field(DashboardRange(), alias="timeRange")


class AnnotationsRequest(PluginRequest):
    """The body of `/annotations`; `annotation` comes back in every event as it was."""

    annotation: dict[str, Any] = Field(default_factory=dict)
    range: DashboardRange = DashboardRange()
    interval_ms: Positive = Field(None, alias="intervalMs")

    def as_query(self) -> QueryRequest:
        """The same as a request for `/query`."""
        name, text = _text(self.annotation.get("name") or ""), _text(self.annotation.get("query") or "")
        fields = {"refId": name[:LONGEST_REF_ID], "target": text, "payload": self.annotation.get("payload")}
        target = to_model(fields, Target)
        scoped = {"__annotation": self.annotation}
        return to_model(
            {"targets": [target], "range": self.range, "intervalMs": self.interval_ms, "scopedVars": scoped},
            QueryRequest,
        )
