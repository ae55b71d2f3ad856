"""How often Python looks for garbage that counting references does not find."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """Have the cyclic collector look seldom, and never at what is there by now.

    What a worker makes of a record holds no cycles, so counting references frees it. But records
    that wait are many, and Python walks through all that is young after every 700 new objects, and
    through all there is again and again: a fifth of the time of a worker.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
