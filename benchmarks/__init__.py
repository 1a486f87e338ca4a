"""How fast the work is, beside what the published code took: `python -m benchmarks --help`."""
