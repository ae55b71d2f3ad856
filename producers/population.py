"""Who there is: clients who pay, the accounts they deal with, and what is usual for each.

Accounts are numbers: first the clients, then the agents who take and give cash, then a ring of
short-lived accounts (new ones, mules) whose names change as they are handed out again, then the
merchants. Only merchants are named M; their balances are not in the service's books, so they are
0 on the wire, as in PaySim.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from producers.calibration import Calibration, Floats

MEAN_BALANCE = 2_000_000.0
"""Mean balance of a client, in the stream's currency: some twenty days of what goes out."""
EVEN_SHARE = 0.25
"""Share of that which is spread by habit; the rest as published, where two thirds have nothing."""
AGENT_BALANCE = 6_000_000.0
HABIT_SIGMA = 0.45
"""Spread (log) of clients' amounts around each other's; the rest is within a client."""
FAVOURITES = 3
"""Agents, payees and shops that a client returns to, each."""

_NAMES = 2_147_483_647  # a prime: multiplying modulo it gives every account a name of its own


class Population:
    """Accounts with names, balances (in cents) and habits. Changes only by `newcomer`."""

    def __init__(self, clients: int, seed: int, calibration: Calibration) -> None:
        rng = np.random.default_rng([seed, 1])
        self.clients = clients
        self.agents = clients
        self.ring = max(64, clients // 4)
        self.merchants = max(20, clients // 4)
        self.first_agent = clients
        self.first_ring = self.first_agent + self.agents
        self.first_merchant = self.first_ring + self.ring
        accounts = self.first_merchant + self.merchants

        self._salt = int(rng.integers(_NAMES))
        self._named = self.first_merchant
        self._next_in_ring = 0
        self.names = [self._name("C", number) for number in range(self.first_merchant)]
        self.names += [self._name("M", number) for number in range(self.merchants)]

        activity = np.clip(rng.random(clients), 1e-9, 1 - 1e-9)
        self.chances = [
            _cumulative(_per_month(profile, activity, rng)) for profile in calibration.profiles
        ]
        """By type: cumulative chance of each client to be the one who acts."""
        habit = np.exp(HABIT_SIGMA * rng.standard_normal(clients) - HABIT_SIGMA**2 / 2)
        self.habit = array("d", np.concatenate([habit, np.ones(accounts - clients)]))
        """How far above the usual an account's amounts are."""

        self.popular_agents = _cumulative(np.exp(rng.standard_normal(self.agents)))
        self.popular_clients = _cumulative(np.exp(1.2 * rng.standard_normal(clients)))
        self.popular_merchants = _cumulative(np.exp(1.5 * rng.standard_normal(self.merchants)))
        count = clients * FAVOURITES
        self.agents_of = array("q", self.first_agent + pick(self.popular_agents, count, rng))
        self.payees_of = array("q", pick(self.popular_clients, count, rng))
        self.shops_of = array("q", self.first_merchant + pick(self.popular_merchants, count, rng))

        self.cents = array("q", bytes(8 * accounts))
        """Balances in cents; those of merchants stay 0."""
        start = _starting_balances(calibration, habit, rng) * MEAN_BALANCE
        agents = AGENT_BALANCE * rng.gamma(2.0, 0.5, self.agents)
        for number, balance in enumerate(np.concatenate([start, agents]).tolist()):
            self.cents[number] = int(balance * 100)

    def newcomer(self) -> int:
        """Return an account nobody has seen: the longest used one of the ring, under a new name."""
        number = self.first_ring + self._next_in_ring
        self._next_in_ring = (self._next_in_ring + 1) % self.ring
        self.names[number] = self._name("C", self._named)
        self._named += 1
        self.cents[number] = 0
        return number

    def _name(self, letter: str, number: int) -> str:
        return f"{letter}{(number * 1_103_515_245 + self._salt) % _NAMES}"


def pick(
    cumulative: Floats, count: int | tuple[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw so many indices by their cumulative chances."""
    return np.searchsorted(cumulative, rng.random(count), side="right").astype(np.int64)


def _cumulative(weights: Floats) -> Floats:
    summed = np.cumsum(weights)
    scaled: Floats = summed / summed[-1]
    scaled[-1] = 1.0
    return scaled


def _per_month(
    profile: tuple[tuple[int, int, float], ...], activity: Floats, rng: np.random.Generator
) -> Floats:
    """Transactions a month of each client: the busier the client, the higher in the profile."""
    low, high, share = (np.array(column, float) for column in zip(*profile, strict=True))
    # A client's rank differs from type to type, yet the busy are busy in all.
    rank = np.argsort(np.argsort(activity + 0.3 * rng.standard_normal(len(activity))))
    place = (rank + 0.5) / len(rank)
    bucket = np.searchsorted(np.cumsum(share / share.sum())[:-1], place)
    within = rng.random(len(place))
    # No client does so much that it is a market of its own.
    counts: Floats = np.minimum(low[bucket] * (high[bucket] / low[bucket]) ** within, 800.0)
    return counts


def _starting_balances(calibration: Calibration, habit: Floats, rng: np.random.Generator) -> Floats:
    """Starting balances in units of their mean: most have little, those of large amounts more."""
    rank = np.argsort(np.argsort(np.log(habit) + 0.5 * rng.standard_normal(len(habit))))
    shares, published = calibration.balances.T
    drawn = np.interp((rank + rng.random(len(rank))) / len(rank), shares, published)
    balances: Floats = EVEN_SHARE * habit + (1 - EVEN_SHARE) * drawn / drawn.mean()
    return balances
