"""`catalogue init` over a real Prometheus, and the file that it writes in use."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gatewayz_demo import processes
from gatewayz_metrics.catalogue import load
from gatewayz_metrics.promql.build import Slots

from tests.support.client import serving
from tests.support.command import finished
from tests.support.fake_upstream import FakeUpstream, answering
from tests.support.waiting import wait_until

EXPOSED = b"""\
# HELP till_sales Sales "over" the counter\\n and more.
# TYPE till_sales counter
till_sales_total{till="a\\"b",instance="1"} 5
till_sales_total{till="a\\"b",instance="2"} 6
# TYPE till_wait_seconds histogram
till_wait_seconds_bucket{till="a",le="1"} 3
till_wait_seconds_bucket{till="a",le="+Inf"} 4
till_wait_seconds_sum{till="a"} 9
till_wait_seconds_count{till="a"} 4
# HELP room_scan_seconds Time to scan.
# TYPE room_scan_seconds summary
room_scan_seconds{quantile="0.5"} 2
room_scan_seconds_sum 8
room_scan_seconds_count 4
# HELP room_celsius How warm it is.
# TYPE room_celsius gauge
room_celsius{room="x"} 21.5
# TYPE moves unknown
moves 7
# TYPE build info
build_info{version="1"} 1
# HELP go_goroutines Of the exporter.
# TYPE go_goroutines gauge
go_goroutines 5
# EOF
"""
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that scrapes another system."""
    with FakeUpstream(answering(EXPOSED, Content_Type=OPENMETRICS)) as exporter:
        target = exporter.url.removeprefix("http://")
        config = (
            f"scrape_configs: [{{job_name: shop, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}]}}]"
        )
        config = config.replace("scrape_interval: 1s", "scrape_interval: 1s, honor_labels: true")
        with processes.start_prometheus(tmp_path_factory.mktemp("shop") / "tsdb", config) as engine:
            rate = {"query": "sum(rate(till_sales_total[5m]))"}
            wait_until(lambda: httpx.get(f"{engine.url}/api/v1/query", params=rate).json()["data"]["result"] != [])
            yield engine.url


@pytest.fixture(scope="module")
def proposed(shop: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("proposed") / "shop.toml"
    code, text = finished("catalogue", "init", "--url", shop, "--out", str(out))
    assert code == 0, text
    assert "5 families and 3 statistics" in text
    return out


def test_families_have_the_engines_words(proposed: Path) -> None:
    found = {family.name: family for family in load(proposed).families}

    assert {name: (family.type, family.unit, family.by) for name, family in found.items()} == {
        "till_sales_total": ("counter", "sales", ("till",)),
        "till_wait_seconds": ("histogram", "seconds", ("till",)),
        "room_scan_seconds": ("summary", "seconds", ()),
        # Not every gauge can be added up.
        "room_celsius": ("gauge", "celsius", ("instance", "job", "room")),
        "moves": ("gauge", "moves", ("instance", "job")),
    }
    assert found["till_sales_total"].help == 'Sales "over" the counter\n and more.'
    assert found["room_celsius"].help == "How warm it is."


def test_what_makes_no_family_is_named(proposed: Path) -> None:
    text = proposed.read_text("utf-8")

    assert '# "build_info"' in text
    assert "go_goroutines" not in text
    assert '# "room_scan_seconds"' not in text


def test_the_service_answers_from_it_as_the_engine_does(shop: str, proposed: Path) -> None:
    slots = Slots("", "5m")
    with serving(shop, catalogue=proposed) as client:
        page = client.get("/prometheus/metrics/all").text
        summary = client.get("/prometheus/metrics/summary").json()

    assert 'till_sales_total{till="a\\"b",aggregated_by="gatewayz-metrics"} 11' in page
    assert "no data" not in page
    assert "errors" not in summary
    for statistic in load(proposed).statistics:
        (sample,) = httpx.get(f"{shop}/api/v1/query", params={"query": slots.fill(statistic.expr)}).json()["data"][
            "result"
        ] or [None]
        told = summary["metrics"][statistic.section][statistic.key]
        assert told == ("N/A" if sample is None else f"{float(sample['value'][1]):g}")


def test_a_selector_narrows_it(shop: str, tmp_path: Path) -> None:
    out = tmp_path / "few.toml"

    code, text = finished("catalogue", "init", "--url", shop, "--out", str(out), "--match", '{room="x"}')

    assert code == 0, text
    assert [family.name for family in load(out).families] == ["room_celsius"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--match", '{room="none"}'], "There is no such series within the last hour"),
        (["--match", "{"], "parse error"),
        (["--url", "http://127.0.0.1:9"], "cannot be reached"),
    ],
)
def test_what_fails_is_one_sentence(shop: str, tmp_path: Path, options: list[str], sentence: str) -> None:
    out = tmp_path / "none.toml"

    code, text = finished("catalogue", "init", "--url", shop, "--out", str(out), *options)

    assert code == 1
    assert sentence in text
    assert "Traceback" not in text
    assert not out.exists()


def test_a_file_of_somebodys_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    out.write_text("mine", "utf-8")

    # It is looked for before anything is asked.
    code, text = finished("catalogue", "init", "--url", "http://127.0.0.1:9", "--out", str(out))

    assert code == 1
    assert text == f"gatewayz-metrics: {out} is there already and is kept; name another file with --out.\n"
    assert out.read_text("utf-8") == "mine"
