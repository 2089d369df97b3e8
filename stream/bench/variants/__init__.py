"""The programs that the worker is compared with, each run as `python -m stream.bench.variants NAME LANE`."""
