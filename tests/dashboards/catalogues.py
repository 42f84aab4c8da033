"""The catalogues that dashboards are made of in tests, and what is made of each."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from gatewayz_metrics.catalogue import Catalogue, load, parse_catalogue

from dashboards.finish import Document
from dashboards.generate import Provisioning, generate

SHOP = Path(__file__).with_name("shop.toml")

_CATEGORY = 'labs = "Experiments."\n'
_FAMILY = """
[families.lab_experiments_total]
type = "counter"
unit = "experiments"
help = "Experiments begun."
by = ["lab"]
categories = ["labs"]
"""


def extended_text() -> str:
    """The built-in catalogue with one more category and a family in it, as its owner would write it."""
    before, head, after = (
        files("gatewayz_metrics.catalogue").joinpath("gatewayz.toml").read_text("utf-8").partition("[categories]\n")
    )
    return f"{before}{head}{_CATEGORY}{after}{_FAMILY}"


def customers() -> Catalogue:
    """What one written board needs, of a system that tells no deployments apart."""
    full = load()
    families = tuple(each for each in full.families if "business" in each.categories)
    statistics = tuple(each for each in full.statistics if each.section == "business")
    return full.model_copy(update={"families": families, "statistics": statistics, "deployment_label": None})


CATALOGUES = {
    "gatewayz": load,
    "shop": lambda: load(SHOP),
    "extended": lambda: parse_catalogue(extended_text(), "extended.toml"),
    "customers": customers,
}


@cache
def made(name: str = "gatewayz") -> Provisioning:
    """Everything that is generated for one of the catalogues."""
    return generate(CATALOGUES[name]())


def checked() -> list[tuple[str, Document]]:
    """Each dashboard that the rules are held against, and the catalogue it is made of."""
    found = [(name, document) for name in CATALOGUES for document in made(name).documents]
    built_in = made().documents
    return [(name, document) for name, document in found if name == "gatewayz" or document not in built_in]
