"""The Prometheus API's envelope for what this service itself has to say."""

import orjson

from gatewayz_metrics.errors import AnswerTooLarge, ServiceError, TimedOut, UpstreamError

# Grafana reads the envelope of 400, 422 and 503 alone; of other statuses it shows the raw body.
_TYPES = {400: "bad_data", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "bad_data", 422: "execution"}


def status_of(kind: type[ServiceError]) -> int:
    """The status of a class of errors: what the upstream failed at is one of the statuses that Grafana reads."""
    if issubclass(kind, AnswerTooLarge):
        return 422
    return 503 if issubclass(kind, UpstreamError) else kind.status


def render_error(error: ServiceError) -> tuple[int, bytes]:
    """Status and body of an error."""
    status = status_of(type(error))
    match error:
        case AnswerTooLarge():
            sentence = (
                f"The answer is larger than {error.allowed:,} bytes; ask for fewer series, a shorter range or a longer "
                "step, or raise MAX_RESPONSE_BYTES."
            )
            return status, _envelope("execution", sentence)
        case TimedOut():
            return status, _envelope("timeout", error.sentence)
        case UpstreamError():
            return status, _envelope("unavailable", error.sentence)
        case _:
            kind = _TYPES.get(status, "unavailable" if status == 503 else "internal")
            return status, _envelope(kind, error.sentence)


def render_success(data: object) -> bytes:
    """The body of a success."""
    return orjson.dumps({"status": "success", "data": data})


def _envelope(error_type: str, sentence: str) -> bytes:
    # What a caller sent may hold what JSON cannot.
    readable = sentence.encode("utf-8", "replace").decode()
    return orjson.dumps({"status": "error", "errorType": error_type, "error": readable})
