"""Reason codes of an alert: what moved its score most against the legitimate habit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.families import CIRCUMSTANCES, KIND, family
from stream.events import Reason

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.float32]
LogOdds = Callable[[Rows], Floats]

_AT_ONCE = 200
"""Alerts that the model is asked about together: bounds the rows of one question."""


def reasons(
    names: Sequence[str], rows: Rows, usual: Floats, log_odds: LogOdds, top: int = 3
) -> list[tuple[Reason, ...]]:
    """Return, for each alert, the features that moved its score most, strongest first.

    Features that tell the same (`core.families`) go together: where one of four half-lives is set
    to its habit, the other three still tell, and none seems to matter. The effect of a family is
    the mean of two: what the log-odds lose where it alone is set to the habit (occlusion, after
    Zeiler and Fergus, 2014), and what they gain where all others are. Where several families each
    suffice, the first alone hardly sees them. They are the last and the first place of the orders
    that Shapley values (Strumbelj and Kononenko, 2014) are means over. The kind of transaction
    stays: the habit is that of its kind. A family is named by the member that does most: whose own
    loss, and whose gain where the rest of the family is at its habit, are largest together.

    Families that do not lower the score are left out. Circumstances, which say nothing of the
    accounts, come after all others.

    Nothing is asked of the model but scores, and nothing is drawn: two for each family and two for
    each member of those named, those of all alerts at once.

    Parameters
    ----------
    names, rows
        Features of the alerts, shape (n, d).
    usual
        The habit of each, shape (n, d); features without one, NaN, are passed over.
    log_odds
        Rows, shape (m, d), to log-odds of fraud, shape (m,).
    top
        How many reasons at most.

    Examples
    --------
    >>> alerts, usual = np.array([[1.0, 1.0]], dtype=np.float32), np.array([[0.0, 1.0]])
    >>> (found,) = reasons(("a", "b"), alerts, usual, lambda rows: 2.0 * rows[:, 0])
    >>> [(reason.feature, reason.effect) for reason in found]
    [('a', 2.0)]
    """
    found: list[tuple[Reason, ...]] = []
    for first in range(0, len(rows), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        found += _explained(tuple(names), rows[part], usual[part], log_odds, top=top)
    return found


class _Families(NamedTuple):
    """What is explained of features with certain names."""

    members: list[Ints]
    """The columns of each family."""
    inside: Bools
    """Which columns are of each family, shape (f, d); the first row is that of none."""
    circumstances: Bools
    """Which families tell nothing of the accounts, shape (f - 1,)."""


@lru_cache(maxsize=16)
def _families(names: tuple[str, ...]) -> _Families:
    found: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        found.setdefault(family(name), []).append(at)
    found.pop(KIND, None)
    inside = np.zeros((1 + len(found), len(names)), dtype=np.bool_)
    for row, columns in enumerate(found.values(), start=1):
        inside[row, columns] = True
    circumstances = np.array([name in CIRCUMSTANCES for name in found], dtype=np.bool_)
    return _Families([np.array(each) for each in found.values()], inside, circumstances)


def _explained(
    names: tuple[str, ...], rows: Rows, usual: Floats, log_odds: LogOdds, *, top: int
) -> list[tuple[Reason, ...]]:
    members, inside, circumstances = _families(names)
    habits = np.where(np.isnan(usual), rows, usual).astype(np.float32)
    usual_all = np.where(inside.any(axis=0), habits, rows)
    asked = np.empty((2, len(rows), *inside.shape), dtype=np.float32)
    """Of each row: each family at its habit, and each alone not so."""
    asked[0] = np.where(inside, habits[:, None], rows[:, None])
    asked[1] = np.where(inside, rows[:, None], usual_all[:, None])
    whole, nothing = log_odds(asked.reshape(-1, len(names))).reshape(2, len(rows), -1)
    effects = (whole[:, :1] - whole[:, 1:] + nothing[:, 1:] - nothing[:, :1]) / 2.0
    order = np.lexsort((-effects, np.broadcast_to(circumstances, effects.shape)), axis=1)
    told = [
        [(at, members[at]) for at in [at for at in ranked if effect[at] > 0][:top]]
        for ranked, effect in zip(order.tolist(), effects, strict=True)
    ]
    spokesmen = iter(
        _spokesmen(
            [(row, each) for row, chosen in enumerate(told) for _, each in chosen],
            rows,
            habits,
            log_odds,
        )
    )
    return [
        tuple(
            Reason(
                feature=names[spokesman := next(spokesmen)],
                value=float(rows[row, spokesman]),
                habit=float(habits[row, spokesman]),
                effect=float(effects[row, at]),
            )
            for at, _ in chosen
        )
        for row, chosen in enumerate(told)
    ]


def _spokesmen(
    chosen: Sequence[tuple[int, Ints]], rows: Rows, habits: Rows, log_odds: LogOdds
) -> list[int]:
    """Return the member of each family chosen, of a row each, that does most for the score."""
    asked = []
    for row, members in chosen:
        if len(members) == 1:
            continue
        without, alone = (np.repeat(rows[row][None], len(members), axis=0) for _ in range(2))
        alone[:, members] = habits[row, members]
        each = np.arange(len(members))
        without[each, members] = habits[row, members]
        alone[each, members] = rows[row, members]
        asked += [without, alone]
    scored = log_odds(np.concatenate(asked)) if asked else np.empty(0)
    found, at = [], 0
    for _, members in chosen:
        k = len(members)
        if k == 1:
            found.append(int(members[0]))
            continue
        without, alone = scored[at : at + k], scored[at + k : at + 2 * k]
        found.append(int(members[np.argmax(alone - without)]))
        at += 2 * k
    return found
