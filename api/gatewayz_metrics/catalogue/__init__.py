"""What is measured: one declarative file and its typed model. Everything else reads it."""

from gatewayz_metrics.catalogue.load import load, parse
from gatewayz_metrics.catalogue.model import Catalogue, Family, Statistic, Term

__all__ = ["Catalogue", "Family", "Statistic", "Term", "load", "parse"]
