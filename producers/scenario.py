"""What the generator is asked for: one frozen value, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

PATTERNS = ("drain", "probe", "mule", "structuring")
"""The fraud patterns; `fraud` says what each does."""
TRANSACTIONS_PER_CLIENT_PER_DAY = 1.0
"""Mean traffic: 20,000 clients make 20,000 transactions a day, 0.23 a second."""
MOST_FRAUD_RATE = 0.3


class Shift(NamedTuple):
    """From this day on (0 is the start) the fraud rate is `factor` times that of the scenario."""

    day: float
    factor: float


class NewPattern(NamedTuple):
    """Before this day (0 is the start) no fraud of this pattern begins."""

    day: float
    pattern: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A stream of the generator. The same scenario is the same stream, byte for byte.

    `fraud_rate` is the share of frauds among transactions over a long run, whatever the patterns
    in force. Raises `ValueError` for what cannot be generated.

    >>> Scenario(fraud_rate=0.001, shifts=(Shift(2, 10),)).fraud_rate_at(2.5)
    0.01
    """

    seed: int = 7
    fraud_rate: float = 0.0013
    clients: int = 20_000
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    shifts: tuple[Shift, ...] = ()
    new_patterns: tuple[NewPattern, ...] = ()
    patterns: tuple[str, ...] = PATTERNS
    uneven_days: bool = False
    """Whether days differ as in the published month (which thins out), or are alike."""

    def __post_init__(self) -> None:
        if not 100 <= self.clients <= 5_000_000:
            raise ValueError(f"clients is {self.clients}; choose 100 to 5,000,000")
        if self.start.utcoffset() is None:
            raise ValueError("start needs an offset from UTC, such as 2026-01-01T00:00:00Z")
        if not self.patterns:
            raise ValueError("at least one fraud pattern is needed; for no fraud set the rate to 0")
        for pattern in (*self.patterns, *(new.pattern for new in self.new_patterns)):
            if pattern not in PATTERNS:
                raise ValueError(f"{pattern!r} is no pattern; there are {', '.join(PATTERNS)}")
        for new in self.new_patterns:
            if new.pattern not in self.patterns:
                raise ValueError(f"{new.pattern} begins on day {new.day:g} but is not in patterns")
        for rate in (self.fraud_rate, *(self.fraud_rate * shift.factor for shift in self.shifts)):
            if not 0 <= rate <= MOST_FRAUD_RATE:
                raise ValueError(
                    f"a fraud rate of {rate:g} is not possible; choose 0 to {MOST_FRAUD_RATE}"
                )

    @property
    def transactions_per_second(self) -> float:
        """Mean traffic, in transactions per second of event time."""
        return self.clients * TRANSACTIONS_PER_CLIENT_PER_DAY / 86_400

    def fraud_rate_at(self, day: float) -> float:
        """The fraud rate in force so many days after the start."""
        factor = 1.0
        for shift in sorted(self.shifts):
            if shift.day <= day:
                factor = shift.factor
        return self.fraud_rate * factor

    def patterns_at(self, day: float) -> tuple[str, ...]:
        """The patterns in force so many days after the start, in a fixed order."""
        begin = {new.pattern: new.day for new in self.new_patterns}
        return tuple(
            pattern
            for pattern in PATTERNS
            if pattern in self.patterns and begin.get(pattern, 0.0) <= day
        )
