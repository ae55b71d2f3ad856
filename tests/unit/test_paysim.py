"""Laws of the generator."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import chain, islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.calibration import CASH_OUT, TYPES, load
from producers.paysim import PATTERNS, NewPattern, Scenario, Shift, generate
from producers.rows import Row
from stream.events import utc


def rows_of(
    scenario: Scenario, *, days: float | None = None, transactions: int | None = None
) -> list[Row]:
    return list(chain.from_iterable(generate(scenario, days=days, transactions=transactions)))


scenarios = st.builds(
    Scenario,
    seed=st.integers(0, 2**32),
    fraud_rate=st.floats(0, 0.2),
    clients=st.integers(100, 3_000),
    start=st.integers(946_684_800, 2_524_608_000).map(utc),
    patterns=st.sets(st.sampled_from(PATTERNS), min_size=1).map(tuple),
)


@settings(max_examples=12, deadline=None)
@given(scenarios)
def test_every_stream_is_ordered_unique_and_adds_up(scenario: Scenario) -> None:
    rows = rows_of(scenario, transactions=1_500)
    assert len(rows) == 1_500
    assert all(a.time_seconds <= b.time_seconds for a, b in pairwise(rows))
    assert len({row.transaction.transaction_id for row in rows}) == len(rows)
    balances: dict[str, int] = {}
    for transaction, time_seconds, is_fraud, pattern in rows:
        assert transaction.time_seconds(scenario.start) == time_seconds
        assert transaction.step is None
        assert transaction.timestamp is not None
        assert is_fraud == (pattern is not None)
        assert pattern is None or pattern in scenario.patterns
        cents = round(transaction.amount * 100)
        assert cents >= 100
        signed = -cents if transaction.type == "CASH_IN" else cents
        sides = (
            (
                transaction.nameOrig,
                transaction.oldbalanceOrg,
                transaction.newbalanceOrig,
                -signed,
            ),
            (
                transaction.nameDest,
                transaction.oldbalanceDest,
                transaction.newbalanceDest,
                signed,
            ),
        )
        assert transaction.nameOrig != transaction.nameDest
        for name, old, new, change in sides:
            assert old is not None
            assert new is not None
            if name.startswith("M"):
                assert old == new == 0
                continue
            assert name.startswith("C")
            assert new >= 0
            assert round(new * 100) == round(old * 100) + change
            assert balances.get(name, round(old * 100)) == round(old * 100), "balances chain"
            balances[name] = round(new * 100)
    assert rows[0].time_seconds >= scenario.start.timestamp()


@settings(max_examples=10, deadline=None)
@given(scenarios, st.integers(1, 700))
def test_a_limit_cuts_the_stream_short_and_changes_nothing_else(
    scenario: Scenario, limit: int
) -> None:
    endless = list(islice(chain.from_iterable(generate(scenario)), limit))
    assert rows_of(scenario, transactions=limit) == endless


def test_the_same_seed_is_the_same_stream_and_another_is_not() -> None:
    def wire(seed: int) -> list[str]:
        return [
            row.transaction.model_dump_json(exclude_none=True)
            for row in rows_of(Scenario(seed=seed, clients=500), days=2)
        ]

    assert wire(7) == wire(7)
    assert len(set(wire(7)) & set(wire(8))) == 0


def test_days_end_the_stream_at_their_end() -> None:
    scenario = Scenario(clients=1_000)
    rows = rows_of(scenario, days=1.26)
    end = scenario.start.timestamp() + 1.26 * 86_400
    assert rows[-1].time_seconds < end
    assert rows == [row for row in rows_of(scenario, days=2) if row.time_seconds < end]


@pytest.fixture(scope="module")
def month() -> list[Row]:
    scenario = Scenario(
        seed=3,
        clients=5_000,
        fraud_rate=0.004,
        shifts=(Shift(15, 4),),
        new_patterns=(NewPattern(10, "mule"),),
    )
    return rows_of(scenario, days=30)


def day(row: Row) -> float:
    return (row.time_seconds - Scenario().start.timestamp()) / 86_400


def fraud_rate(rows: list[Row]) -> float:
    return sum(row.is_fraud is True for row in rows) / len(rows)


def test_frauds_tend_to_the_rate_asked_for_before_and_after_a_shift(month: list[Row]) -> None:
    assert fraud_rate([row for row in month if day(row) < 15]) == pytest.approx(0.004, rel=0.15)
    assert fraud_rate([row for row in month if day(row) >= 15]) == pytest.approx(0.016, rel=0.15)


def test_over_a_long_run_the_fraud_rate_is_met() -> None:
    rows = rows_of(Scenario(seed=5, clients=2_000, fraud_rate=0.05), days=50)
    assert fraud_rate(rows) == pytest.approx(0.05, rel=0.05)


def test_a_new_pattern_begins_on_its_day_and_not_before(month: list[Row]) -> None:
    begin = {
        pattern: min(day(row) for row in month if row.pattern == pattern) for pattern in PATTERNS
    }
    assert 10 <= begin["mule"] < 12
    assert all(begin[pattern] < 3 for pattern in PATTERNS if pattern != "mule")


def test_frauds_happen_day_and_night_alike_and_never_at_a_merchants(month: list[Row]) -> None:
    frauds = [row for row in month if row.is_fraud]
    assert not any(row.transaction.nameDest.startswith("M") for row in frauds)
    assert {row.transaction.type for row in frauds} == {"TRANSFER", "CASH_OUT", "DEBIT"}
    quarters = np.bincount([int(row.time_seconds // 21_600 % 4) for row in frauds], minlength=4)
    assert quarters.min() > 0.15 * len(frauds)


def test_hours_types_and_amounts_agree_with_the_published_figures(month: list[Row]) -> None:
    published = load()
    legitimate = [row for row in month if not row.is_fraud]
    by_hour = np.bincount([int(row.time_seconds // 3600 % 24) for row in legitimate], minlength=24)
    usual = published.share.sum(axis=1)
    busy = usual > 0.005
    assert by_hour[busy] / len(legitimate) == pytest.approx(usual[busy], rel=0.15)
    amounts = defaultdict(list)
    for row in legitimate:
        amounts[row.transaction.type].append(row.transaction.amount)
    for number, name in enumerate(TYPES):
        share = published.share[:, number]
        mean = (share * published.mean[:, number]).sum() / share.sum()
        assert len(amounts[name]) / len(legitimate) == pytest.approx(share.sum(), rel=0.1)
        assert np.mean(amounts[name]) == pytest.approx(mean, rel=0.15)
    assert TYPES[CASH_OUT] == "CASH_OUT"


def test_accounts_come_back_on_both_sides(month: list[Row]) -> None:
    dests: dict[str, int] = defaultdict(int)
    origins: dict[str, int] = defaultdict(int)
    for row in month:
        origins[row.transaction.nameOrig] += 1
        if row.transaction.nameDest.startswith("C"):
            dests[row.transaction.nameDest] += 1
    assert 8 < np.mean(list(dests.values())) < 25
    assert 15 < np.mean(list(origins.values())) < 40
    assert max(origins.values()) > 10 * np.median(list(origins.values()))


def test_legitimate_clients_do_what_fraudsters_do(month: list[Row]) -> None:
    legitimate = [row.transaction for row in month if not row.is_fraud]
    payouts = [row for row in legitimate if row.type in ("TRANSFER", "CASH_OUT")]
    assert 0.005 < np.mean([row.amount == row.oldbalanceOrg for row in payouts]) < 0.06
    near = [9_000 <= row.amount < 10_000 or 180_000 <= row.amount < 200_000 for row in payouts]
    assert 0.02 < np.mean(near) < 0.1
    assert 0.01 < np.mean([row.amount < 3_000 for row in payouts]) < 0.1


def test_traffic_is_one_transaction_per_client_and_day() -> None:
    assert len(rows_of(Scenario(clients=4_000), days=5)) == pytest.approx(20_000, rel=0.03)
    assert Scenario(clients=86_400).transactions_per_second == 1


def test_uneven_days_follow_the_published_month() -> None:
    rows = rows_of(Scenario(clients=1_000, uneven_days=True), days=3)
    counts = np.bincount([int(day(row)) for row in rows])
    assert counts[0] > counts[1] > 10 * counts[2]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"clients": 5}, "clients is 5"),
        ({"fraud_rate": 0.9}, "fraud rate of 0.9"),
        ({"fraud_rate": 0.1, "shifts": (Shift(1, 10),)}, "fraud rate of 1"),
        ({"patterns": ("drain", "phish")}, "'phish' is no pattern"),
        ({"patterns": ()}, "at least one"),
        ({"patterns": ("drain",), "new_patterns": (NewPattern(1, "mule"),)}, "not in patterns"),
        ({"start": datetime(2026, 1, 1)}, "offset"),  # noqa: DTZ001
    ],
)
def test_a_scenario_that_cannot_be_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Scenario(**wrong)  # type: ignore[arg-type]


def test_no_pattern_in_force_means_no_fraud() -> None:
    scenario = Scenario(
        clients=1_000, fraud_rate=0.1, patterns=("probe",), new_patterns=(NewPattern(2, "probe"),)
    )
    rows = rows_of(scenario, days=3)
    assert not any(row.is_fraud for row in rows if day(row) < 2)
    assert any(row.is_fraud for row in rows)
