"""`weir replay`: what other settings would have decided, over what was decided already.

`request` reads off the flags what is asked for; `beginning` finds where in the topics it begins, by
event time (`search`); `course` gives the batches as the workers handled them, and `past` what they
had learned before; `challenger` decides them once more, and `core.comparison` sets both side by
side; `printing` shows it. Nothing is published, no group is joined, and Redis holds what comes of
it under a prefix of its own.
"""


class ReplayError(Exception):
    """Nothing can be decided once more, or not from so far back; the message says what to do."""
