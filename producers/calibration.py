"""The published figures that the generator follows: `calibration.json` as arrays.

Source: the parameter files of the PaySim simulator (Lopez-Rojas, Elmir, Axelsson: PaySim, a
financial mobile money simulator for fraud detection, 2016), one month of a mobile money service,
pooled by hour of the day because half of the month's hours hold next to nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TYPES = ("PAYMENT", "TRANSFER", "CASH_OUT", "CASH_IN", "DEBIT")
PAYMENT, TRANSFER, CASH_OUT, CASH_IN, DEBIT = range(5)

FEW = 2_000
"""An hour with fewer transactions of a type than this leans on the type's figures of all hours."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Arrays by hour of the day (24 rows) and type (5 columns, as in `TYPES`)."""

    share: Floats
    """Share of a day's transactions; the whole table sums to 1."""
    mean: Floats
    """Mean amount, in the stream's currency."""
    std: Floats
    """Standard deviation of amounts."""
    day_factor: Floats
    """Traffic of each of the month's 30 days over that of a mean day."""
    profiles: tuple[tuple[tuple[int, int, float], ...], ...]
    """By type: (fewest, most, share of clients with so many transactions of the type a month)."""
    balances: Floats
    """Starting balances: rows of (cumulative share of clients, balance)."""


def load() -> Calibration:
    """Read the figures.

    >>> calibration = load()
    >>> calibration.share.shape, round(float(calibration.share[20].sum()), 3)
    ((24, 5), 0.129)
    """
    raw: dict[str, Any] = json.loads(files("producers").joinpath("calibration.json").read_text())

    def table(name: str) -> Floats:
        return np.array([raw["hours"][type_][name] for type_ in TYPES], float).T

    count, mean = table("count"), table("mean")
    square = table("std") ** 2 + mean**2
    # Every hour gets FEW transactions of the type's all-day kind on top: four transactions at
    # five in the morning say nothing about a mean.
    total = count.sum(axis=0)
    mean_of_all, square_of_all = ((count * x).sum(axis=0) / total for x in (mean, square))
    mean = (count * mean + FEW * mean_of_all) / (count + FEW)
    square = (count * square + FEW * square_of_all) / (count + FEW)
    days = np.array(raw["days"], float)
    return Calibration(
        share=count / count.sum(),
        mean=mean,
        std=np.sqrt(square - mean**2),
        day_factor=days / days.mean(),
        profiles=tuple(
            tuple((int(low), int(high), float(share)) for low, high, share in raw["profiles"][name])
            for name in TYPES
        ),
        balances=np.array(raw["balances"], float),
    )
