"""The same work done several ways in one run on one machine; `docs/speed.md` says what is measured and how to read it.

python -m benchmarks.speed              everything, about half an hour on 2 cores; then the table of docs/speed.md
python -m benchmarks.speed --quick      a smoke test of two minutes; keeps nothing under benchmarks/
python -m benchmarks.speed --table      the table only, from the kept results
python -m benchmarks.speed.demo         the demo run as the naive program would do it, whole; takes hours
"""
