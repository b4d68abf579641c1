"""Counts, prints or writes."""

import argparse
import json

from benchmarks.cluster_estimate import __doc__ as usage
from benchmarks.cluster_estimate.arithmetic import COUNTS
from benchmarks.cluster_estimate.counts import count
from benchmarks.cluster_estimate.tables import tables
from benchmarks.pages import ROOT, write_part


def main() -> None:
    """Counts, prints or writes."""
    parser = argparse.ArgumentParser(description=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="count the tokens of the data anew")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/ray.md")
    options = parser.parse_args()
    if options.count:
        COUNTS.write_text(json.dumps(count(), indent=2) + "\n", encoding="utf-8")
    if options.write:
        write_part(ROOT / "docs" / "ray.md", "cluster table", tables())
    print(tables())


if __name__ == "__main__":
    main()
