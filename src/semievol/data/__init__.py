"""Files, hub data sets and package sources -> examples; checks of the data."""

from semievol.data.answers import truth_digest
from semievol.data.checks import Overlap, Report, examine
from semievol.data.dataset import Dataset
from semievol.data.loading import load, read_answers, read_truth
from semievol.data.store import StoredExamples, digest, store

__all__ = [
    "Dataset",
    "Overlap",
    "Report",
    "StoredExamples",
    "digest",
    "examine",
    "load",
    "read_answers",
    "read_truth",
    "store",
    "truth_digest",
]
