"""Weir: a streaming fraud detector that keeps learning while fraud stays rare.

The journey of one transaction, and where to read about each step:

1. A producer publishes it on the topic of transactions (`producers`, or your own).
2. `io.worker` polls the bus (`io.bus`; `io.kafka` or `io.embedded`). `io.intake` decodes the bytes
   (`core.decode`; what cannot be read goes to the dead letters, with the reason) and keeps
   transactions and labels in step by event time (`core.alignment`).
3. `core.detector` has the three handlers, and so the whole application, on one screen.
   *On transactions*: `core.features` turns each into numbers from the past of its accounts,
   `core.model` scores it, `core.threshold` decides, `core.pending` holds score and features until
   the label comes, `core.windows` counts.
4. *On labels*, days later: a label meets its pending transaction, the window it was in matures,
   and the pair becomes an example. All frauds do, and a few of the legitimate (`core.learners`).
5. Alerts, examples, dead letters and the positions reached are committed as one.
6. *On examples*: every worker reads the whole training log, learns it in its order, and moves the
   threshold (`core.committee` and its members, `core.threshold`). Equal logs make equal models.
7. `io.store` puts window reports and live values into Redis, where `watch` shows them to people.

What is in `core` is pure: time, seed and settings come in as arguments. What is in `io` touches
sockets and disks and computes nothing. `__main__` puts the parts together.
"""

import os

# Memory as it is needed, in small pages: numpy asks for large ones, and whoever is the first to
# write to one waits until all of it is there, up to 6 ms on a virtual machine. numpy reads this
# when it is loaded.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
