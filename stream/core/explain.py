"""Reason codes of an alert: what moved its score most against the legitimate habit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.core.families import CIRCUMSTANCES, KIND, family
from stream.events import Reason

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
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
    families: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        families.setdefault(family(name), []).append(at)
    families.pop(KIND, None)
    found: list[tuple[Reason, ...]] = []
    for first in range(0, len(rows), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        found += _explained(names, rows[part], usual[part], families, log_odds, top=top)
    return found


def _explained(
    names: Sequence[str],
    rows: Rows,
    usual: Floats,
    families: dict[str, list[int]],
    log_odds: LogOdds,
    *,
    top: int,
) -> list[tuple[Reason, ...]]:
    members = [np.array(each) for each in families.values()]
    habits = np.where(np.isnan(usual), rows, usual).astype(np.float32)
    usual_all = rows.copy()
    explained = np.concatenate(members)
    usual_all[:, explained] = habits[:, explained]
    without, alone = (np.repeat(r[:, None], 1 + len(members), axis=1) for r in (rows, usual_all))
    for at, each in enumerate(members, start=1):
        without[:, at, each] = habits[:, each]
        alone[:, at, each] = rows[:, each]
    asked = np.stack([without, alone]).reshape(-1, rows.shape[1])
    whole, nothing = log_odds(asked).reshape(2, len(rows), -1)
    effects = (whole[:, :1] - whole[:, 1:] + nothing[:, 1:] - nothing[:, :1]) / 2.0
    last = np.array([name in CIRCUMSTANCES for name in families])
    order = np.lexsort((-effects, np.broadcast_to(last, effects.shape)), axis=1)
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
