"""Metadata of counters under the names of their samples.

An engine that scrapes OpenMetrics keeps a counter's metadata under the family's name, which lacks the `_total` of its
samples (https://prometheus.io/docs/specs/om/open_metrics_spec/#counter). Grafana looks for the samples' names.
"""

import orjson

from gatewayz_metrics.catalogue import Catalogue, Family
from gatewayz_metrics.memory import borrow_memory
from gatewayz_metrics.prometheus_api.parameters import RequestParams
from gatewayz_metrics.upstream.response import decode_object

_SUFFIX = "_total"
# How many times its text a decoded answer takes, measured: metrics with a type, a help and a unit.
_DECODED = 5


def complete_metadata(body: bytes, form: RequestParams, catalogue: Catalogue) -> bytes:
    """The body of a success, with the catalogue's own words for counters that the upstream has by another name.

    It goes on as it came where nothing is missing. Raises BadAnswer for what is no envelope, MemoryFull.
    """
    counters = [family for family in _counters(catalogue, form.get("metric")) if _quoted(family) not in body]
    is_limited = form.get("limit") is not None and form.get("metric") is None
    if not counters or is_limited:
        return body
    with borrow_memory(_DECODED * len(body)):
        document = decode_object(body)
        known = document.get("data")
        if not isinstance(known, dict):
            return body
        named = form.get("metric") is not None
        added = {
            family.name: [{"type": family.type, "help": family.help, "unit": ""}]
            for family in counters
            if family.name not in known and (named or family.name.removesuffix(_SUFFIX) in known)
        }
        return orjson.dumps(document | {"data": known | added}) if added else body


def _counters(catalogue: Catalogue, name: str | None) -> list[Family]:
    """The families of counters that a request is about."""
    return [
        family
        for family in catalogue.families
        if family.type == "counter" and family.name.endswith(_SUFFIX) and name in (None, family.name)
    ]


def _quoted(family: Family) -> bytes:
    return b'"%s":' % family.name.encode()
