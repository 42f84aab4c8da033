"""Tables: several instant queries joined by their labels, or one answer of the JSON datasource."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models

from dashboards import queries, theme
from dashboards.expressions import Expression
from dashboards.links import Link
from dashboards.panels import dressed

_LETTERS = "ABCDEFGHIJ"
# Pixels; a name such as anthropic/claude-sonnet-4.5 needs as much.
_LEAST_KEY = 240


@dataclass(frozen=True)
class ValueColumn:
    """A column of values with its colours."""

    name: str
    expression: Expression
    steps: theme.Steps | None = None
    bar: bool = False
    words: models.ValueMap | None = None
    width: int = 100


@dataclass(frozen=True)
class KeyColumn:
    """A column of labels with what a click on it opens."""

    label: str
    links: Sequence[Link] = field(default=())
    # In pixels, of a column that needs no more; the others share what is left.
    width: int | None = None
    least: int = _LEAST_KEY

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label.replace("_", " ").capitalize()


def joined(
    title: str,
    keys: Sequence[KeyColumn],
    columns: Sequence[ValueColumn],
    *,
    sort: str,
    note: str = "",
    size: tuple[int, int] = (24, 14),
) -> table.Panel:
    """One row per combination of labels, one column per expression."""
    panel = _dressed_table(title, columns, [queries.as_rows(column.expression) for column in columns], note, size=size)
    values = {f"Value #{letter}": column.name for letter, column in zip(_LETTERS, columns, strict=False)}
    if len(columns) == 1:
        values = {"Value": columns[0].name}
    _transform(panel, "merge", {})
    renamed = values | {key.label: key.name for key in keys}
    order = {name: index for index, name in enumerate((*(key.label for key in keys), *values))}
    _transform(panel, "organize", {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": renamed})
    return _with_keys(_sorted(panel, sort), keys)


def from_service(
    title: str,
    keys: Sequence[KeyColumn],
    columns: Sequence[ValueColumn],
    targets: Sequence[Builder[Dataquery]],
    *,
    sort: str,
    note: str = "",
    size: tuple[int, int] = (24, 9),
    empty: str = theme.NO_DATA,
) -> table.Panel:
    """A table that the JSON datasource joins itself."""
    panel = _dressed_table(title, columns, targets, note, source=queries.JSON, size=size, empty=empty)
    renamed = {key.label: key.name for key in keys}
    _transform(panel, "organize", {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": renamed})
    return _with_keys(_sorted(panel, sort), keys)


def _sorted(panel: table.Panel, column: str) -> table.Panel:
    """The largest first: the worst, or the most of it."""
    _transform(panel, "sortBy", {"fields": {}, "sort": [{"field": column, "desc": True}]})
    return panel


def _dressed_table(
    title: str,
    columns: Sequence[ValueColumn],
    targets: Sequence[Builder[Dataquery]],
    note: str,
    *,
    source: models.DataSourceRef = queries.CHOSEN,
    size: tuple[int, int] = (24, 9),
    empty: str = theme.NO_DATA,
) -> table.Panel:
    panel = table.Panel().show_header(True)
    dressed(panel, title, columns[0].expression, targets, note=note, size=size, source=source, empty=empty)
    for column in columns:
        panel.override_by_name(column.name, _properties(column))
    return panel


def _properties(column: ValueColumn) -> list[models.DynamicConfigValue]:
    unit = theme.as_shown(column.expression.unit)
    found = [models.DynamicConfigValue("unit", unit), models.DynamicConfigValue("custom.width", column.width)]
    if unit in theme.DECIMALS:
        found.append(models.DynamicConfigValue("decimals", theme.DECIMALS[unit]))
    if column.steps is not None:
        found.append(models.DynamicConfigValue("thresholds", column.steps.build()))
        found.append(models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    found.append(models.DynamicConfigValue("mappings", [*filter(None, [column.words]), theme.missing("-")]))
    found.append(models.DynamicConfigValue("noValue", "-"))
    if column.bar:
        found.append(models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": theme.BAR}))
        found.append(models.DynamicConfigValue("custom.cellOptions", {"type": "gauge", "mode": "basic"}))
        found.append(models.DynamicConfigValue("min", 0))
        # By its own column: beside tokens by the million, a bar of seconds would be empty.
        found.append(models.DynamicConfigValue("fieldMinMax", True))
    return found


def _with_keys(panel: table.Panel, keys: Sequence[KeyColumn]) -> table.Panel:
    for key in keys:
        found = [models.DynamicConfigValue("custom.minWidth", key.least)]
        if key.width is not None:
            found = [models.DynamicConfigValue("custom.width", key.width)]
        if key.links:
            found.append(models.DynamicConfigValue("links", [link.build() for link in key.links]))
        panel.override_by_name(key.name, found)
    return panel


def _transform(panel: table.Panel, name: str, options: dict[str, object]) -> None:
    panel.with_transformation(models.DataTransformerConfig(id_val=name, options=options))
