"""`gatewayz-metrics catalogue`: what is measured, as tables or JSON, and files of one's own."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from gatewayz_metrics.catalogue import Catalogue, load
from gatewayz_metrics.commands.catalogue_init import init
from gatewayz_metrics.promql.build import Slots
from gatewayz_metrics.settings import read_settings


class CatalogueGroup(TyperGroup):
    """The command `catalogue` shows the catalogue where the next word is none of its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words of the command line, with the command that was meant."""
        is_named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_named else ["show", *args])


catalogue_commands = typer.Typer(cls=CatalogueGroup, help="Show the catalogue (the default), or make and check files.")


@catalogue_commands.command("show")
def show(
    path: Annotated[Path | None, typer.Argument(help="A catalogue file; the setting CATALOGUE when absent.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The families and statistics as JSON.")] = False,
) -> None:
    """Print the catalogue, and with it say that it is valid."""
    settings = read_settings()
    found = load(path or settings.catalogue)
    slots = Slots(settings.selector, found.window)
    if as_json:
        typer.echo(json.dumps(_describe(found, slots), indent=2))
        return
    # Piped into a file, a table keeps its columns instead of squeezing them into 80 characters.
    Console(width=None if sys.stdout.isatty() else 240).print(_list_families(found), _list_statistics(found, slots))


@catalogue_commands.command("validate")
def validate(path: Annotated[Path, typer.Argument(help="The catalogue file.")]) -> None:
    """Say whether a catalogue file is valid; exit code 1 and the reason when it is not."""
    found = load(path)
    typer.echo(f"{path} is valid: {len(found.families)} families, {len(found.statistics)} statistics.")


catalogue_commands.command("init")(init)


def _list_families(found: Catalogue) -> Table:
    table = Table("Family", "Type", "Unit", "By", "Categories", "Meaning", title=f"{found.title}: families")
    for family in found.families:
        row = (family.name, family.type, family.unit, ", ".join(family.by), ", ".join(family.categories), family.help)
        table.add_row(*row)
    return table


def _list_statistics(found: Catalogue, slots: Slots) -> Table:
    table = Table("Statistic", "Unit", "Meaning", "Expression", title=f"{found.title}: statistics")
    for statistic in found.statistics:
        table.add_row(statistic.name, statistic.unit, statistic.help, slots.fill("\nelse ".join(statistic.choices)))
    return table


def _describe(found: Catalogue, slots: Slots) -> dict[str, Any]:
    families = [
        {
            "name": family.name,
            "type": family.type,
            "unit": family.unit,
            "help": family.help,
            "labels": list(family.by),
            "categories": list(family.categories),
        }
        for family in found.families
    ]
    statistics = [
        {
            "name": statistic.name,
            "unit": statistic.unit,
            "help": statistic.help,
            "expressions": [slots.fill(choice).strip() for choice in statistic.choices],
        }
        for statistic in found.statistics
    ]
    return {"title": found.title, "families": families, "statistics": statistics}
