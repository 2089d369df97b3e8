"""The quality benchmark: the default recipe on MovieLens-100K, beside the baselines and the acceptance levels.

Run it with `python -m meta.benchmark`. Users are permuted and cut into ten folds; of each split one fold is held out,
the next one is for early stopping, the rest is for training. The held-out users of seven splits are pooled. Recipe and
constants were chosen by measuring on users of the other three folds only, see docs/learner.md.

What is measured stands in sections, one a file; `meta.benchmark.sections` lists them.
"""
