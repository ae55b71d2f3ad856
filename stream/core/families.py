"""Features that tell the same thing in several ways, by their names in `core.features`."""

from __future__ import annotations

import re
from functools import lru_cache

KIND = "type"
"""The family of what kind of transaction it is: a reason stands against the habit of its kind."""
HOUR = "hour"
CIRCUMSTANCES = frozenset({HOUR, "novelty"})
"""Families that say nothing of the accounts: the time of day, and that something or other is
unusual, which is made of other features."""

_HALF_LIFE = re.compile(r"_[0-9.e+]+h$")
_FAMILIES = {
    "orig_balance": {"orig_balance", "orig_balance_missing"},
    "drains": {"drains", "amount_to_balance"},
    "dest_balance": {"dest_balance", "dest_balance_missing", "dest_empty"},
    HOUR: {"hour_sin", "hour_cos"},
    **{
        f"{side}_{family}": {f"{side}_{feature}" for feature in features}
        for side in ("orig", "dest")
        for family, features in {
            "activity": ("count", "since"),
            "amounts": ("amount_ratio", "amount_unusual"),
            "frauds": ("fraud", "fraud_age", "fraud_run", "labels", "label_age"),
        }.items()
    },
}
_FAMILY_OF = {feature: family for family, members in _FAMILIES.items() for feature in members}


@lru_cache(maxsize=1024)
def family(name: str) -> str:
    """Return the family of a feature; one of nobody else's kind is a family of its own.

    All half-lives of a history are of one family, and so are the ways to say what an amount takes
    of the balance, how often and how lately an account was active, the ways to compare an amount
    with its usual ones, and what its labels say.

    >>> family("orig_count_24h"), family("orig_since"), family("dest_count_1h")
    ('orig_activity', 'orig_activity', 'dest_activity')
    >>> family("type_TRANSFER"), family("amount"), family("one_of_my_own")
    ('type', 'amount', 'one_of_my_own')
    """
    if name.startswith("type_"):
        return KIND
    without = without_half_life(name)
    return _FAMILY_OF.get(without, name)


def without_half_life(name: str) -> str:
    """Return the name of a feature without its half-life, where it has one.

    >>> without_half_life("dest_amount_ratio_0.5h"), without_half_life("dest_since")
    ('dest_amount_ratio', 'dest_since')
    """
    return _HALF_LIFE.sub("", name)
