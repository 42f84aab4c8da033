"""`python -m dashboards` writes everything that is generated: into `provisioning/`, or for a catalogue of one's own."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gatewayz_metrics.catalogue import load
from gatewayz_metrics.errors import ConfigurationError

from dashboards.generate import ROOT, Provisioning, generate


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every generated file and remove those that are no longer made; an expected failure is one sentence."""
    options = _options(arguments)
    try:
        made = generate(load(options.catalogue))
        _write(made, options.out)
    except (ConfigurationError, OSError) as exc:
        sys.stderr.write(f"dashboards: {exc}\n")
        return 1
    for title, reason in made.left_out.items():
        sys.stdout.write(f"Left out: {title}. {reason}\n")
    sys.stdout.write(f"{len(made.files())} files written below {options.out.resolve().name}/.\n")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Dashboards and alerts of a catalogue.")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="a catalogue file in place of the built-in one")
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=ROOT, help="where to write (%(default)s)")
    return parser.parse_args(arguments)


def _write(made: Provisioning, root: Path) -> None:
    for path in made.stale(root):
        path.unlink()
    for name, text in made.files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
