"""`python -m dashboards` writes everything that is generated into `provisioning/`."""

import sys

from dashboards.generate import ROOT, files, stale


def main() -> None:
    """Write every generated file and remove those that are no longer made."""
    for path in stale():
        path.unlink()
    made = files()
    for name, text in made.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(made)} files written below {ROOT.name}/.\n")


if __name__ == "__main__":
    main()
