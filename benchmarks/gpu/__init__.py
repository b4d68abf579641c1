"""How fast this is on a GPU, and whether it says the same there: see `python -m benchmarks.gpu --help`.

Nothing is loaded or fetched: the models have random weights in the shapes of real ones, made on the card, and a
tokenizer of single letters. Times and memory depend on shapes alone.
"""
