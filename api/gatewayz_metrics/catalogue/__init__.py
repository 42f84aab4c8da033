"""What is measured: one declarative file and its typed model. Everything else reads it."""

from gatewayz_metrics.catalogue.functions import build_heatmap, build_terms, functions_of
from gatewayz_metrics.catalogue.load import load, parse_catalogue
from gatewayz_metrics.catalogue.model import Catalogue, Family, Statistic, Term
from gatewayz_metrics.catalogue.names import explain_absence, explain_unknown, find_entry, is_misspelt
from gatewayz_metrics.catalogue.units import grafana_unit
from gatewayz_metrics.promql.build import Slots

__all__ = [
    "Catalogue",
    "Family",
    "Slots",
    "Statistic",
    "Term",
    "build_heatmap",
    "build_terms",
    "explain_absence",
    "explain_unknown",
    "find_entry",
    "functions_of",
    "grafana_unit",
    "is_misspelt",
    "load",
    "parse_catalogue",
]
