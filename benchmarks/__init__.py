"""Speed and memory, compared with the published code: `python -m benchmarks --help`."""
