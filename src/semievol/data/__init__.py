"""Files, hub data sets and package sources -> examples; checks of the data."""

from semievol.data.checks import Overlap, Report, examine
from semievol.data.dataset import Dataset, digest
from semievol.data.loading import load, read_answers

__all__ = ["Dataset", "Overlap", "Report", "digest", "examine", "load", "read_answers"]
