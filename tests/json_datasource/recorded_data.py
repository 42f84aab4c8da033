"""Four known hours around the moments that the recorded requests ask for."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.samples import Series, flat, histogram, steady

STEP = 15
# 2025-05-01, 07:00 to 11:15 UTC; the requests ask for 10:00 to 11:00.
START = 1746082800
END = START + 255 * 60
TEN = START + 3 * 3600

# What is up or down; many series are one per instance.
INSTANCES = {"api": ("10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090"), "web": ("a.b:1", "c.d:2")}
INSTANCE_COUNT = sum(map(len, INSTANCES.values()))
WIDE = 500  # series of the family of that name

CATALOGUE = """
title = "Recorded"
window = "5m"
[categories]
traffic = "Requests."
[sections]
traffic = "Requests."

[families.http_rps]
type = "gauge"
unit = "requests/s"
help = "Requests per second."
by = ["job", "instance"]
categories = ["traffic"]
expr = "sum by (job, instance) (rate(http_requests_total{$selector}[$window]))"

[families.http_requests_total]
type = "counter"
unit = "requests"
help = "Requests."
by = ["job", "status"]
categories = ["traffic"]

[families.request_seconds]
type = "histogram"
unit = "seconds"
help = "Time to answer."
by = ["job"]
categories = ["traffic"]

[families.query_seconds]
type = "summary"
unit = "seconds"
help = "Time to query."
by = ["table"]
categories = ["traffic"]

[families.request_seconds_quantile]
type = "gauge"
unit = "seconds"
help = "Quantiles of the time to answer."
categories = ["traffic"]
quantile_of = "request_seconds"
quantiles = [0.5, 0.95]

[families.instances]
type = "gauge"
unit = "instances"
help = "Instances."
categories = ["traffic"]
expr = "count(up{$selector})"

[statistics.traffic.rate]
unit = "requests/s"
help = "All requests."
expr = "sum(rate(http_requests_total{$selector}[$window]))"

[statistics.traffic.error_rate]
unit = "percent"
help = "Share of errors."
expr = '''
100 * sum(rate(http_requests_total{$selector,status=~"5.."}[$window]))
/ sum(rate(http_requests_total{$selector}[$window]))'''
"""


def series() -> Iterator[Series]:
    """Every series that has a sample at every step."""
    for number, instance in enumerate(INSTANCES["api"], 1):
        base = {"job": "api", "instance": instance}
        yield Series("up", base, flat(1))
        for status, rate in {"200": 3.0, "500": 0.25, "503": 0.125}.items():
            yield Series("http_requests_total", base | {"status": status}, steady(rate * number))
        yield from histogram("request_seconds", base, {"0.1": 3, "1.0": 8, "+Inf": 9}, 0.4, number)
        yield Series("query_seconds_sum", base | {"table": f"t{number}"}, steady(0.5))
        yield Series("query_seconds_count", base | {"table": f"t{number}"}, steady(2))
    for instance in INSTANCES["web"]:
        yield Series("up", {"job": "web", "instance": instance}, flat(0))
        yield Series("http_requests_total", {"job": "web", "instance": instance, "status": "200"}, steady(7))
    yield Series("build_info", {"job": "api", "version": "1.2"}, lambda t: 1 if t < 3.5 * 3600 else 2)
    yield Series("waves", {"job": "api"}, lambda t: (t // 600) % 3 - 1)


def sparse() -> Iterator[tuple[Series, set[int]]]:
    """Series that are there only at some seconds since START."""
    gap = range(3 * 3600 + 600, 3 * 3600 + 1800)
    yield Series("gappy", {"job": "api"}, flat(4)), set(range(0, END - START, STEP)) - set(gap)
    alert = {"alertname": "HighErrorRate", "alertstate": "firing", "severity": "page", "job": "api"}
    yield Series("ALERTS", alert, flat(1)), set(range(3 * 3600 + 1200, 3 * 3600 + 2100, STEP))
    for number in range(WIDE):
        yield Series("wide", {"n": f"{number:03}", "job": "wide"}, steady(number / 7)), set(range(0, END - START, 60))


def openmetrics(path: Path) -> Path:
    """All of it as OpenMetrics text."""
    everything = [(one, set(range(0, END - START, STEP))) for one in series()]
    everything += sparse()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for one, times in sorted(everything, key=lambda pair: pair[0].name):
            labels = ",".join(f'{name}="{value}"' for name, value in one.labels.items())
            file.writelines(f"{one.name}{{{labels}}} {one.curve(t)!r} {START + t}\n" for t in sorted(times))
        file.write("# EOF\n")
    return path


@cache
def recorded(number: str) -> dict[str, Any]:
    """A recorded request by its number."""
    (file,) = Path(__file__).parent.joinpath("requests").glob(f"{number}-*.json")
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found
