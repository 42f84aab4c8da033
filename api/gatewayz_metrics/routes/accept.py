"""Which exposition a client's Accept header asks for (RFC 9110, 12.5.1)."""

from collections.abc import Iterator
from functools import lru_cache

from gatewayz_metrics.render.exposition import Exposition


@lru_cache(256)
def negotiate(accept: str) -> Exposition:
    """The best rated format that we write; plain text for everybody who names none of them."""
    ranked = sorted(_offers(accept), key=lambda offer: -offer[0])
    return ranked[0][1] if ranked else Exposition.PLAIN


def _offers(accept: str) -> Iterator[tuple[float, Exposition]]:
    for item in accept.split(","):
        media, *pairs = (part.strip() for part in item.split(";"))
        parameters = {k.strip().lower(): v.strip().strip('"') for k, _, v in (pair.partition("=") for pair in pairs)}
        weight = _weight(parameters.get("q", "1"))
        form = _form(media.lower(), parameters.get("version"))
        if form is not None and weight > 0:
            yield weight, form


def _form(media: str, version: str | None) -> Exposition | None:
    match media, version:
        case "application/openmetrics-text", None | "1.0.0":
            return Exposition.OPENMETRICS
        case "text/plain", "0.0.4":
            return Exposition.TEXT
        case (("text/plain" | "text/*" | "*/*"), None):
            return Exposition.PLAIN
    return None


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
