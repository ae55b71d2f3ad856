"""`weir audit`: what a stream was learned from, what was done about its balance, and how it did.

`trail` folds the training log and `quality` the windows in Redis, both within bounds; `refold` has
a model learn the log anew, to see whether it comes to what was in force; `facts` puts all of it
together as plain data, and `pages` and `charts` make a page of that which needs nothing but itself.
"""


class AuditError(Exception):
    """There is nothing to report on; the message says what to give."""
