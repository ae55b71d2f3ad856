"""`weir evaluate`: the detector of production over a table, its figures, and a report of them.

`plan` reads off the flags what is asked for, and `command` runs it; `table` reads the rows and
`distort` spoils them where that is asked for; `figures` and `curves` do the arithmetic, `timeline`
notes how the model changed on the way; `printing` shows them, and `drawing`, `pictures`, `page` and
`report` make the HTML.
"""

from stream.settings import CREDENTIALS, Settings

OF_THE_BUS = (
    *("bus", "redis", "group", "worker_id", "key_field", "partitions", "state_dir"),
    *(name for name in Settings.model_fields if name.endswith("_topic")),
    *CREDENTIALS,
    *("redis_prefix", "window_expiry_seconds", "max_message_bytes", "max_record_bytes"),
    *("reject_share", "reject_window", "max_ahead_days", "bus_patience_seconds"),
    *("checkpoint_seconds", "log_format", "log_level"),
)
"""Settings that mean nothing to a detector by itself."""


class RequestError(Exception):
    """What was asked for makes no sense, or cannot be loaded; the message says what to give."""


class GradingError(Exception):
    """The span that is scored holds nothing that could be graded; the message says why."""
