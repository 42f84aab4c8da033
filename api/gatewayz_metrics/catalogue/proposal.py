"""A catalogue proposed for another system, from what its engine knows of it: names, types, help texts and labels.

It is a beginning for people who know the system: units and help texts are theirs to correct.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from gatewayz_metrics.catalogue.model import RESERVED_LABELS, RESERVED_PAGES, FamilyType
from gatewayz_metrics.promql.build import mean_of, total_growth
from gatewayz_metrics.promql.lexer import LABEL_NAME, METRIC_NAME

# What every exporter says of itself, and engines of their own work.
_ABOUT_EXPORTERS = re.compile(r"(go|process|python|promhttp|scrape|prometheus|net_conntrack)_.*|up|ALERTS(_FOR_STATE)?")
_NO_FAMILY = ("_created", "_info")
_PART = re.compile(r"(.+)_(bucket|sum|count)")
# Labels that name replicas: what is counted is added up over them.
_REPLICAS = frozenset(["instance", "job", "pod", "container", "endpoint", "namespace", "node"])
# Names with one first word that make a category of their own.
_SMALLEST_CATEGORY = 2
_OTHER = "other"
_UNITS = ("seconds", "bytes", "ratio", "percent", "celsius", "meters", "volts", "amperes", "joules", "grams")

WINDOW = "5m"


@dataclass(frozen=True, slots=True)
class ObservedFamily:
    """A family as an engine has it; `labels` are those of its series, `le` and `quantile` aside."""

    name: str
    type: FamilyType
    help: str
    labels: tuple[str, ...] = ()

    @property
    def by(self) -> tuple[str, ...]:
        """The labels to keep: a gauge keeps all, as not every gauge can be added up."""
        dropped = RESERVED_LABELS if self.type == "gauge" else RESERVED_LABELS | _REPLICAS
        return tuple(label for label in self.labels if label not in dropped and LABEL_NAME.fullmatch(label))

    @property
    def unit(self) -> str:
        """The unit that the name ends with, else the noun that it counts."""
        words = self.name.removesuffix("_total").split("_")
        return next((word for word in reversed(words[1:]) if word in _UNITS), words[-1] or "1")

    @property
    def sample(self) -> str:
        """A name that its series have."""
        return f"{self.name}_count" if self.type in ("histogram", "summary") else self.name


def observe_families(
    names: Set[str], metadata: Mapping[str, tuple[str, str]], *, with_exporters: bool = False
) -> tuple[list[ObservedFamily], list[str]]:
    """The families that the names of series belong to, without labels yet, and the names that make none.

    `metadata` has type and help by name, as far as the engine knows them.
    """
    found: dict[str, ObservedFamily] = {}
    left_out: list[str] = []
    for name in sorted(names):
        if not with_exporters and _ABOUT_EXPORTERS.fullmatch(name):
            continue
        base, kind = _judge(name, names, metadata)
        if kind is None:
            left_out.append(name)
        elif base not in found:
            help_text = metadata.get(base, metadata.get(base.removesuffix("_total"), ("", "")))[1]
            found[base] = ObservedFamily(base, kind, help_text.strip() or base.replace("_", " ").capitalize() + ".")
    # A summary's own name stands for its quantiles, which the family does without.
    return list(found.values()), [name for name in left_out if name not in found]


def _judge(name: str, names: Set[str], metadata: Mapping[str, tuple[str, str]]) -> tuple[str, FamilyType | None]:
    """The family that a series of this name belongs to and its type; None where a catalogue cannot have it."""
    if not METRIC_NAME.fullmatch(name) or name.endswith(_NO_FAMILY):
        return name, None
    if (part := _PART.fullmatch(name)) and {f"{part[1]}_sum", f"{part[1]}_count"} <= names:
        return part[1], "histogram" if f"{part[1]}_bucket" in names else "summary"
    if name.endswith("_total"):
        return name, "counter"
    kind = metadata.get(name, ("", ""))[0]
    # A summary's quantiles bear the family's own name, and a native histogram has one series for everything.
    return name, None if kind in ("counter", "histogram", "summary") else "gauge"


def propose_catalogue(title: str, families: Iterable[ObservedFamily], left_out: Collection[str] = ()) -> str:
    """The text of a catalogue file with these families, and a statistic for each that can be summed up in one."""
    families = list(families)
    categories = _name_categories(families)
    named = sorted(set(categories.values()), key=lambda category: (category == _OTHER, category))
    measured = {categories[family.name] for family in families if _has_statistic(family)}
    sections = [category for category in named if category in measured]
    lines = [f"title = {_quote(title)}", f"window = {_quote(WINDOW)}", "", "[categories]"]
    lines += [f"{category} = {_quote(_describe(category))}" for category in named]
    lines += ["", "[sections]", *(f"{section} = {_quote(_describe(section))}" for section in sections)]
    for family in families:
        lines += ["", *_render_family(family, categories[family.name])]
    for family in families:
        lines += _render_statistic(family, categories[family.name])
    if left_out:
        lines += ["", "# Left out, for what they are called or made of no family can be made:"]
        lines += [f"# {json.dumps(name)}" for name in left_out]
    return "\n".join(lines) + "\n"


def _name_categories(families: Iterable[ObservedFamily]) -> dict[str, str]:
    """The category of each family by name: the first word of its name, where others share it."""
    words = {family.name: family.name.partition("_")[0].partition(":")[0] for family in families}
    shared = Counter(words.values())
    return {
        name: word
        if shared[word] >= _SMALLEST_CATEGORY and word not in RESERVED_PAGES and LABEL_NAME.fullmatch(word)
        else _OTHER
        for name, word in words.items()
    }


def _describe(category: str) -> str:
    return "Everything else." if category == _OTHER else f"Metrics whose names begin with {category}."


def _render_family(family: ObservedFamily, category: str) -> Iterator[str]:
    yield f"[families.{_key(family.name)}]"
    yield f"type = {_quote(family.type)}"
    yield f"unit = {_quote(family.unit)}"
    yield f"help = {_quote(family.help)}"
    if family.by:
        yield f"by = [{', '.join(map(_quote, family.by))}]"
    yield f"categories = [{_quote(category)}]"


def _has_statistic(family: ObservedFamily) -> bool:
    # Whether a gauge is to be added up, or averaged, only people know.
    return family.type != "gauge"


def _render_statistic(family: ObservedFamily, category: str) -> Iterator[str]:
    """How fast a counter grows, and the mean of a histogram or summary."""
    if not _has_statistic(family):
        return
    is_counter = family.type == "counter"
    key = family.name.removesuffix("_total") + ("_per_second" if is_counter else "_mean")
    yield ""
    yield f"[statistics.{category}.{_key(key)}]"
    yield f"unit = {_quote(f'{family.unit}/s' if is_counter else family.unit)}"
    yield f"help = {_quote(f'{family.name}: how many a second.' if is_counter else f'{family.name}: the mean.')}"
    promql = total_growth("rate", family.name) if is_counter else mean_of(family.name)
    yield f"expr = {_quote(promql)}"


def _key(name: str) -> str:
    # A colon, as recording rules have it, needs quotes.
    return name if LABEL_NAME.fullmatch(name) else _quote(name)


def _quote(text: str) -> str:
    # TOML's basic strings are JSON's, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
