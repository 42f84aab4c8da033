"""`gatewayz-metrics dashboards`: the files for Grafana and Prometheus, which the package carries as data."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from gatewayz_metrics.errors import ConfigurationError

# Where they are in a checkout, which an editable installation runs from.
_CHECKOUT = Path(__file__).parents[3] / "provisioning"


def write_dashboards(
    out: Annotated[Path, typer.Option(help="The folder to write into; files of the same names are replaced.")],
) -> None:
    """Write the dashboards, alerts, datasources and examples of provisioning into a folder.

    Grafana reads FOLDER/grafana as its provisioning folder. For a catalogue of your own, `python -m dashboards
    --catalogue FILE --out FOLDER` makes them in a checkout.
    """
    try:
        written = sum(1 for _ in _copy(_find(), out))
    except OSError as exc:
        raise ConfigurationError(f"{out} cannot be written ({exc}).") from None
    typer.echo(f"{written} files written below {out}; mount {out / 'grafana'} as /etc/grafana/provisioning.")


def _find() -> Traversable:
    packaged = files("gatewayz_metrics") / "provisioning"
    return packaged if packaged.is_dir() else _CHECKOUT


def _copy(source: Traversable, target: Path) -> Iterator[Path]:
    """Copy a folder; every file that was written."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.is_dir():
            yield from _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
            yield target / entry.name
