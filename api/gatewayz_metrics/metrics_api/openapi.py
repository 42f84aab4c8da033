"""The operations of the metrics routes for OpenAPI."""

from gatewayz_metrics.errors import InvalidParameter, LimitExceeded, TooBusy, TooManyPoints, UnknownRoute
from gatewayz_metrics.http.openapi import JSON, OpenApiObject, describe_answer
from gatewayz_metrics.http.route import SurfaceRouter
from gatewayz_metrics.metrics_api.exposition import ExpositionFormat
from gatewayz_metrics.metrics_api.formats import FORMAT, DataFormat
from gatewayz_metrics.metrics_api.parameters import CATEGORY, CATEGORY_PATH, SOURCES, TIME, VALUES
from gatewayz_metrics.metrics_api.series_parameters import END, NAME, START, STEP

_TEXT: OpenApiObject = {"type": "string"}
_ROWS: OpenApiObject = {"type": "array", "items": {"type": "object"}}
_PAGE = {
    "200": describe_answer(
        "Exposition text in the format that `Accept` rates highest; comments tell of an outage.",
        {form.value: _TEXT for form in ExpositionFormat},
    )
}


def describe_index(router: SurfaceRouter) -> OpenApiObject:
    """The list of the routes."""
    document = {"type": "object", "properties": {"routes": _ROWS}, "required": ["routes"]}
    return router.describe({"200": describe_answer("The routes.", {JSON: document})})


def describe_docs(router: SurfaceRouter) -> OpenApiObject:
    """The page in Markdown."""
    return router.describe({"200": describe_answer("The page.", {"text/markdown; charset=utf-8": _TEXT})})


# No answer below is an error because the upstream failed: what is missing is named in the answer.


def describe_summary(router: SurfaceRouter) -> OpenApiObject:
    """The summary."""
    answer = _describe_data("timestamp", "metrics")
    return router.describe(answer, InvalidParameter, parameters=[CATEGORY, VALUES, SOURCES, FORMAT, TIME])


def describe_series(router: SurfaceRouter) -> OpenApiObject:
    """Entries over time."""
    answer = _describe_data("start", "end", "step", "series")
    errors = (InvalidParameter, LimitExceeded, TooManyPoints, TooBusy)
    return router.describe(answer, *errors, parameters=[NAME, START, END, STEP, FORMAT])


def describe_page(router: SurfaceRouter) -> OpenApiObject:
    """All families."""
    return router.describe(_PAGE, InvalidParameter, parameters=[TIME])


def describe_category(router: SurfaceRouter) -> OpenApiObject:
    """The families of a category."""
    return router.describe(_PAGE, InvalidParameter, UnknownRoute, parameters=[CATEGORY_PATH, TIME])


def _describe_data(*required: str) -> OpenApiObject:
    """An answer in each data format; as an object it has these members at least."""
    schemas = {
        DataFormat.JSON.media_type: {"anyOf": [{"type": "object", "required": list(required)}, _ROWS]},
        DataFormat.CSV.media_type: _TEXT,
    }
    return {"200": describe_answer("The numbers; where one is missing the answer says why.", schemas)}
