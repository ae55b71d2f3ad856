"""One model on many workers: what it costs, whether it is one, and how it moves."""
