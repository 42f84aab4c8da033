"""`gatewayz-metrics dashboards`: the files for Grafana and Prometheus, which the package carries as data."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from gatewayz_metrics.commands.progress import show_progress
from gatewayz_metrics.errors import ConfigurationError

# Where they are in a checkout, which an editable installation runs from.
_CHECKOUT = Path(__file__).parents[3] / "provisioning"


def write_dashboards(
    out: Annotated[Path, typer.Option(help="The folder to write into; files of the same names are replaced.")],
    catalogue: Annotated[
        Path | None, typer.Option(help="Make them for this catalogue file; this needs a checkout.")
    ] = None,
) -> None:
    """Write the dashboards, alerts, datasources and examples of provisioning into a folder.

    Grafana reads FOLDER/grafana as its provisioning folder.
    """
    if catalogue is not None:
        _generate(catalogue, out)
        return
    try:
        written = sum(1 for _ in _copy(_find(), out))
    except OSError as exc:
        raise ConfigurationError(f"{out} cannot be written ({exc}).") from None
    typer.echo(f"{written} files written below {out}; mount {out / 'grafana'} as /etc/grafana/provisioning.")


def _generate(catalogue: Path, out: Path) -> None:
    """Run the generator, which is no part of the package: its types of Grafana's panels are large."""
    root = _CHECKOUT.parent
    if not (root / "dashboards").is_dir():
        raise ConfigurationError(
            "Dashboards for a catalogue of your own are made in a checkout of this project, where --catalogue works "
            "after `make test` or `pip install --group dashboards`."
        )
    command = [sys.executable, "-m", "dashboards", "--catalogue", str(catalogue.resolve()), "--out", str(out.resolve())]
    with show_progress(f"Making the dashboards of {catalogue}"):
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603  # the words are ours and two paths
    typer.echo(done.stdout, nl=False)
    typer.echo(done.stderr, nl=False, err=True)
    raise typer.Exit(done.returncode)


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
