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


@dataclass(frozen=True)
class ValueColumn:
    """A column of values with its colours."""

    name: str
    expression: Expression
    steps: theme.Steps | None = None
    bar: bool = False
    words: models.ValueMap | None = None


@dataclass(frozen=True)
class KeyColumn:
    """A column of labels with what a click on it opens."""

    label: str
    links: Sequence[Link] = field(default=())

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label.replace("_", " ").capitalize()


def joined(
    title: str, keys: Sequence[KeyColumn], columns: Sequence[ValueColumn], *, sort: str, note: str = ""
) -> table.Panel:
    """One row per combination of labels, one column per expression."""
    panel = _dressed_table(title, columns, [queries.as_rows(column.expression) for column in columns], note)
    values = {f"Value #{letter}": column.name for letter, column in zip(_LETTERS, columns, strict=False)}
    if len(columns) == 1:
        values = {"Value": columns[0].name}
    _transform(panel, "merge", {})
    renamed = values | {key.label: key.name for key in keys}
    order = {name: index for index, name in enumerate((*(key.label for key in keys), *values))}
    _transform(panel, "organize", {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": renamed})
    _transform(panel, "sortBy", {"fields": {}, "sort": [{"field": sort, "desc": True}]})
    return _with_keys(panel, keys)


def from_service(
    title: str,
    keys: Sequence[KeyColumn],
    columns: Sequence[ValueColumn],
    targets: Sequence[Builder[Dataquery]],
    *,
    note: str = "",
    size: tuple[int, int] = (24, 9),
) -> table.Panel:
    """A table that the JSON datasource joins itself."""
    panel = _dressed_table(title, columns, targets, note, source=queries.JSON, size=size)
    renamed = {key.label: key.name for key in keys}
    _transform(panel, "organize", {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": renamed})
    return _with_keys(panel, keys)


def _dressed_table(
    title: str,
    columns: Sequence[ValueColumn],
    targets: Sequence[Builder[Dataquery]],
    note: str,
    *,
    source: models.DataSourceRef = queries.CHOSEN,
    size: tuple[int, int] = (24, 9),
) -> table.Panel:
    panel = table.Panel().show_header(True)
    dressed(panel, title, columns[0].expression, targets, note=note, size=size, source=source)
    for column in columns:
        panel.override_by_name(column.name, _properties(column))
    return panel


def _properties(column: ValueColumn) -> list[models.DynamicConfigValue]:
    found = [models.DynamicConfigValue("unit", column.expression.unit)]
    if column.steps is not None:
        found.append(models.DynamicConfigValue("thresholds", column.steps.build()))
        found.append(models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    found.append(models.DynamicConfigValue("mappings", [*filter(None, [column.words]), theme.missing("-")]))
    found.append(models.DynamicConfigValue("noValue", "-"))
    if column.bar:
        found.append(models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": theme.BAR}))
        found.append(models.DynamicConfigValue("custom.cellOptions", {"type": "gauge", "mode": "basic"}))
        found.append(models.DynamicConfigValue("min", 0))
    return found


def _with_keys(panel: table.Panel, keys: Sequence[KeyColumn]) -> table.Panel:
    for key in keys:
        if key.links:
            links = [link.build() for link in key.links]
            panel.override_by_name(key.name, [models.DynamicConfigValue("links", links)])
    return panel


def _transform(panel: table.Panel, name: str, options: dict[str, object]) -> None:
    panel.with_transformation(models.DataTransformerConfig(id_val=name, options=options))
