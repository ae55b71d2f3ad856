"""One table of rankings over several streams: Weir, plain River, and batch anchors.

`python -m benchmarks.ranking --help` says how to run it.
"""
