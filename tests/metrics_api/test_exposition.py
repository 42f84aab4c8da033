"""Exposition against independent parsers, for label values and numbers of every kind."""

import asyncio
from collections.abc import Iterable

from gatewayz_metrics.catalogue import Family
from gatewayz_metrics.metrics_api.exposition import ExpositionFormat, _render_family, render_exposition
from gatewayz_metrics.query import Snapshot
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.metrics_api import slow_exposition
from tests.support.readings import NamedSample, reading_of

GAUGE = Family(name="g", type="gauge", unit="x", help='Say "hi" \\ and\nbye.', categories=("c",))
COUNTER = Family(name="c_total", type="counter", unit="x", help="C.", categories=("c",))
HISTOGRAM = Family(name="h", type="histogram", unit="x", help="H.", categories=("c",))

TEXTS = st.text(st.characters(exclude_categories=[]))  # every code point, lone surrogates included
VALUES = st.floats().map(lambda value: {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(repr(value), repr(value)))
LABELS = st.dictionaries(st.from_regex(r"_?[a-z][a-z0-9_]{0,8}", fullmatch=True), TEXTS, max_size=4)


def write(family: Family, samples: Iterable[NamedSample], form: ExpositionFormat) -> str:
    return write_bytes(family, samples, form).decode()


def write_bytes(family: Family, samples: Iterable[NamedSample], form: ExpositionFormat) -> bytes:
    return asyncio.run(render_exposition([family], Snapshot(0, {family.name: reading_of(samples)}), form))


def sample_lines(page: bytes) -> bytes:
    return b"".join(line for line in page.splitlines(keepends=True) if not line.startswith(b"#"))


def replaced(labels: dict[str, str]) -> dict[str, str]:
    """What UTF-8 can carry of the labels, with our marker."""
    readable = {k: v.encode("utf-8", "replace").decode() for k, v in labels.items()}
    return readable | {"aggregated_by": "gatewayz-metrics"}


@given(LABELS, VALUES)
def test_any_labels_and_value_survive_the_text_format(labels: dict[str, str], value: str) -> None:
    [family] = parse_text(write(GAUGE, [NamedSample("g", labels, value)], ExpositionFormat.TEXT))
    [sample] = family.samples

    assert sample.labels == replaced(labels)
    assert repr(sample.value) == repr(float(value))
    assert family.documentation == GAUGE.help


@given(LABELS, VALUES)
def test_any_labels_and_value_survive_openmetrics(labels: dict[str, str], value: str) -> None:
    [family] = parse_openmetrics(write(GAUGE, [NamedSample("g", labels, value)], ExpositionFormat.OPENMETRICS))
    [sample] = family.samples

    assert sample.labels == replaced(labels)
    assert repr(float(sample.value)) == repr(float(value))
    assert family.documentation == GAUGE.help


@given(st.lists(VALUES, max_size=5))
def test_openmetrics_leaves_impossible_counters_out(values: list[str]) -> None:
    samples = [NamedSample("c_total", {"n": str(number)}, value) for number, value in enumerate(values)]
    [family] = parse_openmetrics(write(COUNTER, samples, ExpositionFormat.OPENMETRICS))

    assert [repr(float(s.value)) for s in family.samples] == [repr(float(v)) for v in values if float(v) >= 0]


PARTS = st.lists(
    st.one_of(
        st.tuples(st.just("h_bucket"), st.sampled_from(["1", "1.0", "0.5", "2", "10", "+Inf", "x"])),
        st.tuples(st.sampled_from(["h_sum", "h_count"]), st.none()),
    ),
    unique=True,
)


@given(PARTS, st.data())
def test_any_histogram_comes_out_complete_or_not_at_all(
    parts: list[tuple[str, str | None]], data: st.DataObject
) -> None:
    samples = [
        NamedSample(name, {"p": "a"} | ({"le": le} if le else {}), str(data.draw(st.integers(0, 100))))
        for name, le in parts
    ]
    for parse, form in ((parse_text, ExpositionFormat.TEXT), (parse_openmetrics, ExpositionFormat.OPENMETRICS)):
        [family] = parse(write(HISTOGRAM, samples, form))
        found = {s.labels.get("le", s.name): float(s.value) for s in family.samples}
        buckets = [value for _, value in sorted((float(le), v) for le, v in found.items() if not le.startswith("h_"))]
        assert buckets == sorted(buckets)
        if found:
            assert found["+Inf"] == found.get("h_count", found["+Inf"])


def test_two_spellings_of_one_boundary_are_one_bucket() -> None:
    samples = [
        NamedSample("h_bucket", {"le": "1"}, "3"),
        NamedSample("h_bucket", {"le": "1.0"}, "4"),
        NamedSample("h_count", {}, "9"),
    ]
    text = write(HISTOGRAM, samples, ExpositionFormat.TEXT)

    assert 'le="1",aggregated_by="gatewayz-metrics"} 7.0\n' in text
    assert text.count("h_bucket") == 2


def test_boundaries_that_only_some_replicas_have_are_left_out() -> None:
    counts = {"1": "10", "2": "4", "5": "20", "+Inf": "20"}
    samples = [NamedSample("h_bucket", {"le": le}, count) for le, count in counts.items()]
    text = write(HISTOGRAM, [*samples, NamedSample("h_count", {}, "20")], ExpositionFormat.TEXT)

    assert 'le="2"' not in text
    assert 'le="5"' in text


def test_openmetrics_writes_boundaries_canonically() -> None:
    text = write(
        HISTOGRAM,
        [NamedSample("h_bucket", {"le": "1"}, "1"), NamedSample("h_count", {}, "1")],
        ExpositionFormat.OPENMETRICS,
    )

    assert 'le="1.0"' in text


def test_order_is_stable() -> None:
    samples = [NamedSample("g", {"n": text}, "1") for text in ("b", "a", "c")]

    assert write(GAUGE, samples, ExpositionFormat.PLAIN) == write(GAUGE, reversed(samples), ExpositionFormat.PLAIN)


# Against the plain way of writing the same, byte by byte.

# Names that are changed, left out, and in no order; texts that are escaped, and few, so that label sets resemble.
NAMES = st.sampled_from(["a", "b", "_c", "Z", "__d", "aggregated_by", "x.y", "ü", "%s"])
HOSTILE = st.sampled_from(["", "1", "2", 'a"b', "a\\", "a\n", "\x00", "%s", "\ud800", "\r", "\u2028"])
LABEL_SETS = st.dictionaries(NAMES, HOSTILE, max_size=3)
NUMBERS = st.sampled_from(["0", "1", "2", "2.0", "7", "1e2", "-3", "NaN", "+Inf", "-Inf", "0.30000000000000004"])
BOUNDS = st.sampled_from(["1", "1.0", "0.5", "2", "1e1", "+Inf", "Inf", "-Inf", "-0", "0", "NaN", "x", "", " 1\n", '"'])
PLAIN_FAMILIES = st.sampled_from(
    [GAUGE, COUNTER, Family(name="s", type="summary", unit="x", help="S.", categories=("c",))]
)
FORMS = st.sampled_from(ExpositionFormat)


@st.composite
def plain_samples(draw: st.DrawFn, family: Family) -> list[NamedSample]:
    names = [f"{family.name}_sum", f"{family.name}_count"] if family.type == "summary" else [family.name]
    one = st.builds(NamedSample, st.sampled_from(names), LABEL_SETS, NUMBERS)
    return draw(st.lists(one, max_size=12, unique_by=lambda one: (one.name, tuple(sorted(one.labels.items())))))


@st.composite
def histogram_samples(draw: st.DrawFn) -> list[NamedSample]:
    """Buckets that belong together and others, as sums over replicas with other buckets have them."""
    label_sets = draw(st.lists(LABEL_SETS, min_size=1, max_size=3))
    of_bucket = st.builds(lambda labels, le: {**labels, "le": le}, st.sampled_from(label_sets), BOUNDS)
    reordered = st.builds(lambda labels: dict(reversed(labels.items())), of_bucket)
    bucket = st.builds(NamedSample, st.just("h_bucket"), of_bucket | reordered | st.sampled_from(label_sets), NUMBERS)
    other = st.builds(NamedSample, st.sampled_from(["h_sum", "h_count"]), st.sampled_from(label_sets), NUMBERS)
    return draw(st.lists(bucket | other, max_size=25))


@given(PLAIN_FAMILIES.flatmap(lambda family: st.tuples(st.just(family), plain_samples(family))), FORMS)
def test_samples_are_written_as_the_plain_way_writes_them(
    given_: tuple[Family, list[NamedSample]], form: ExpositionFormat
) -> None:
    family, samples = given_
    expected = slow_exposition.write_samples(family.type, family.name, samples, openmetrics=form.is_openmetrics)

    assert sample_lines(write_bytes(family, samples, form)) == expected.encode("utf-8", "replace")


@given(histogram_samples(), FORMS)
def test_histograms_are_written_as_the_plain_way_writes_them(
    samples: list[NamedSample], form: ExpositionFormat
) -> None:
    expected = slow_exposition.write_samples("histogram", "h", samples, openmetrics=form.is_openmetrics)

    assert sample_lines(write_bytes(HISTOGRAM, samples, form)) == expected.encode("utf-8", "replace")


def test_many_samples_are_written_as_few_are() -> None:
    """Across the pieces in which they are sorted and written, none of which holds other requests up for long."""
    gauges = [NamedSample("g", {"n": str(number * 7919 % 5003)}, str(number)) for number in range(5003)]
    buckets = [
        NamedSample("h_bucket", {"le": le, "n": str(number * 7919 % 2003)}, count)
        for le, count in (("1", "1"), ("+Inf", "2"))
        for number in range(2003)
    ]
    for family, samples in ((GAUGE, gauges), (HISTOGRAM, buckets)):
        expected = slow_exposition.write_samples(family.type, family.name, samples, openmetrics=False)
        assert sample_lines(write_bytes(family, samples, ExpositionFormat.TEXT)) == expected.encode()
        pieces = list(_render_family(family, reading_of(samples), ExpositionFormat.TEXT))
        assert max((piece or "").count("\n") for piece in pieces) < 300
        assert len(pieces) > len(samples) / 300
