"""What a run of Llama-3.1-8B on a cluster takes and costs, worked out on paper, for the tables of `docs/ray.md`.

python -m benchmarks.cluster_estimate           prints the tables
python -m benchmarks.cluster_estimate --write   puts them into docs/ray.md
python -m benchmarks.cluster_estimate --count   counts the tokens of the data anew (SEMIEVOL_DATA), keeps the counts

Nothing here was measured on a GPU. Tokens are counted on the real data; the driver's part is measured
(benchmarks/results/scale.json); everything else is a constant below, with its unit and where it comes from.
"""
