"""Whatever comes in whatever order: decode says why not, and every label is learned from once."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

import stream.core.pending as pending_module
from benchmarks.fuzz import MUTATIONS, endless, fuzzed, main, messages, mutated
from stream.core import decode as reading
from stream.core.decode import Reject, decode
from stream.core.detector import Detector
from stream.core.model import Model
from stream.core.pending import Pending
from stream.core.scored import Scored
from stream.core.windows import measure
from stream.events import Alert, Event, Example, Label, Reason, Transaction, utc
from tests.streams import label, rows, settings

MAX_BYTES = 65_536
ROWS = rows(300, fraud_rate=0.2)

_FIELDS: dict[str, Any] = {
    "transaction_id": "T1",
    "timestamp": utc(1e9),
    "amount": 1.5,
    "score": 0.5,
}
EVENTS: list[Event] = [
    ROWS[0].transaction,
    label("T1", True, utc(1e9)),
    Alert(
        **_FIELDS,
        alert_id="alert-T1",
        decided_at=utc(1e9),
        type="TRANSFER",
        nameOrig="C1",
        nameDest="C2",
        threshold=0.25,
        model_position=3,
        reasons=(Reason(feature="amount", value=1.0, habit=0.0, effect=2.5),),
    ),
    Example(
        **_FIELDS,
        labelled_at=utc(1e9),
        source="chargeback",
        is_fraud=True,
        alerted=False,
        weight=2.0,
        features={"amount": 1.0, "drains": 0.0},
    ),
]


QUICK: dict[type[Event], Any] = {
    Transaction: reading.transactions(),
    Label: reading.label,
    Example: reading.example,
}
"""What is read in two ways comes to the same."""


def check_read_alike(value: bytes, kind: type[Event], found: Event | Reject) -> None:
    quick = QUICK[kind](value, MAX_BYTES)
    if isinstance(found, Reject):  # how deep a field is nested that nobody reads is all one
        assert quick == found or "recursion" in found.reason
        return
    for name in kind.model_fields:
        expected, got = getattr(found, name), getattr(quick, name)
        if isinstance(expected, datetime):  # finer than it can hold, one rounds, the other cuts
            assert abs(got - expected) <= timedelta(microseconds=1)
        else:
            assert got == expected
            assert type(got) is type(expected)


def check_decoded(value: bytes, kind: type[Event]) -> Event | Reject:
    """Decode, and check the laws of what comes out."""
    found = decode(value, kind, MAX_BYTES)
    if kind in QUICK:
        check_read_alike(value, kind, found)
    assert isinstance(found, (kind, Reject))
    if isinstance(found, Reject):
        assert found.reason
        if kind in (Transaction, Label):  # reasons go to a header, and people read them
            assert len(found.reason) < 500
            assert found.reason.isprintable()
        found.reason.encode()
        return found
    # What was read can be written, and is then read as the same.
    assert decode(found.model_dump_json().encode(), kind, 10 * MAX_BYTES) == found
    if isinstance(found, Transaction):
        assert 0 <= found.amount <= 1e12
        assert 0 <= found.time_seconds(utc(0)) < 1e10
        assert all(np.isfinite(x) for x in (found.oldbalanceOrg, found.oldbalanceDest) if x)
    return found


@given(
    st.sampled_from(EVENTS), st.lists(st.sampled_from(list(MUTATIONS)), max_size=4), st.integers(0)
)
@examples_of(max_examples=150)
def test_a_mutated_message_is_read_whole_or_refused_with_a_reason(
    event: Event, names: list[str], seed: int
) -> None:
    value, draw = event.model_dump_json(exclude_none=True).encode(), Random(seed)
    for name in names:
        value = MUTATIONS[name](value, draw)
    for kind in (type(event), Transaction, Label):
        check_decoded(value, kind)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_of_each_event_is_read_whole_or_refused(event: Event, name: str) -> None:
    draw, value = Random(name), event.model_dump_json(exclude_none=True).encode()
    for _ in range(40):
        check_decoded(MUTATIONS[name](value, draw), type(event))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(st.characters(), max_size=8)  # lone surrogates among them
    | st.sampled_from(["2026-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "1e5", "true"])
)


@given(
    st.sampled_from(EVENTS),
    st.lists(st.tuples(st.integers(0, 30), scalars | st.lists(scalars, max_size=3)), max_size=6),
    st.integers(0, 400),
)
@example(EVENTS[0], [(0, "\ud800")], 0)
@example(EVENTS[1], [(1, 10**30)], 400)
@examples_of(max_examples=100)
def test_fields_that_come_twice_of_other_types_and_nested_are_read_whole_or_refused(
    event: Event, changes: list[tuple[int, Any]], depth: int
) -> None:
    names = [*type(event).model_fields, "isFraud", "__class__", ""]
    text = event.model_dump_json(exclude_none=True)[:-1]
    for at, value in changes:
        text += f", {json.dumps(names[at % len(names)])}: {json.dumps(value)}"
    text += f', "nested": {"[" * depth}{"]" * depth}}}'
    check_decoded(text.encode(), type(event))


@given(st.sampled_from(EVENTS), st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_or_read(event: Event, value: bytes) -> None:
    check_decoded(value, type(event))


# Ids of few transactions, so that labels of them repeat, contradict each other and come early.
ids = st.sampled_from([f"t{n}" for n in range(12)])
told = st.lists(st.tuples(ids | st.sampled_from(["u1", "u2", "u3"]), st.booleans()), max_size=12)
steps = st.lists(st.tuples(st.lists(ids, max_size=6), told), max_size=12)


def check_verdicts(sent: Sequence[tuple[str, bool]], learned: Sequence[tuple[str, bool]]) -> None:
    """Each label is learned from at most once, and again only where the verdict has changed."""
    assert not Counter(learned) - Counter(sent)
    by_id: dict[str, list[bool]] = {}
    for id_, verdict in learned:
        by_id.setdefault(id_, []).append(verdict)
    for id_, verdicts in by_id.items():
        assert all(a != b for a, b in itertools.pairwise(verdicts)), id_


@given(steps, st.integers(1, 12), st.integers(1, 5))
@examples_of(max_examples=100)
def test_transactions_and_labels_meet_in_any_order_and_the_counts_add_up(
    order: list[tuple[list[str], list[tuple[str, bool]]]], capacity: int, max_early: int
) -> None:
    pending, held, sent, learned, first = Pending(2, capacity, ()), [], [], [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending_module, "_MAX_EARLY", max_early)
        for come, labels in order:
            new = [id_ for id_ in dict.fromkeys(come) if id_ not in held]  # each comes once
            held += new
            n = len(new)
            transactions = [
                ROWS[0].transaction.model_copy(update={"transaction_id": id_}) for id_ in new
            ]
            features = np.zeros((n, 2), dtype=np.float32)
            nothing = np.zeros(n)
            codes = np.zeros((n, 0), dtype=np.int16)
            scored = Scored(nothing, nothing, nothing > 0, nothing, codes)
            pending.add(transactions, scored, features)
            joined = pending.join([label(id_, verdict, utc(1e9)) for id_, verdict in labels])
            sent += labels
            learned += [(found.transaction_id, found.is_fraud) for found in joined.labels]
            assert all(found.transaction_id in held for found in joined.labels)
            assert len(joined.scores) == len(joined.features) == len(joined.labels)
            assert pending.early <= max_early
            assert 0 <= len(pending) <= capacity
            first += int((~joined.corrects).sum())
            counted = pending.repeated + pending.corrected + pending.early + pending.unknown
            assert len(sent) == first + counted
    check_verdicts(sent, learned)


@given(steps, st.integers(0, 3))
@examples_of(max_examples=30)
def test_in_a_detector_each_label_makes_one_example_at_most_whatever_the_order(
    order: list[tuple[list[str], list[tuple[str, bool]]]], shift: int
) -> None:
    chosen = settings(rebalance="none")
    detector = Detector(chosen, Model(chosen))
    shard, made, sent, learned = detector.open(0), [], [], []
    decided: list[str] = []
    for number, (come, labels) in enumerate(order):
        batch = [
            ROWS[int(id_[1:]) * 7 + shift].transaction.model_copy(update={"transaction_id": id_})
            for id_ in come
        ]
        decisions = detector.on_transactions(0, batch)
        decided += [tx.transaction_id for tx in decisions.transactions]
        assert np.isfinite(decisions.scores).all()
        at = utc(1.8e9 - number * 1e6)  # labels come later and earlier than those before
        joined, examples = detector.on_labels(0, [label(i, fraud, at) for i, fraud in labels])
        detector.on_examples(examples, detector.model.position + len(examples))
        sent += labels
        learned += [(found.transaction_id, found.is_fraud) for found in joined.labels]
        made += [(one.transaction_id, one.is_fraud) for one in examples]
    assert len(decided) == len(set(decided))
    assert shard.duplicates + len(decided) == sum(len(come) for come, _ in order)
    check_verdicts(sent, learned)
    check_verdicts(sent, made)
    assert {one for one in learned if one[1]} <= set(made)  # every fraud is learned
    counts = measure(shard.windows.changed())
    assert counts.transactions == len(decided)
    assert counts.labelled == len({id_ for id_, _ in learned})


def test_the_benchmark_counts_every_message_and_ends_the_same_with_the_same_seed() -> None:
    found = [fuzzed(settings(max_pending=100), messages(ROWS * 5, seed), 1_500) for seed in (1, 1)]
    for one in found:
        outcomes = one.outcomes
        parts = ("refused", "transactions decided", "transactions known already", "labels read")
        assert sum(outcomes[part] for part in parts) == one.messages == 1_500
        assert sum(one.refused.values()) == outcomes["refused"] > 500
        assert outcomes["labels joined"] > 10
    assert found[0].outcomes == found[1].outcomes
    assert found[0].refused == found[1].refused


def test_every_mutation_is_used_and_a_small_table_begins_again_with_new_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Random(3)
    seen = {name for _ in range(2_000) for name in mutated(b'{"a": 1.5}', draw)[0].split("+")}
    assert seen == set(MUTATIONS)
    table = tmp_path / "card.csv"
    table.write_text(
        "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n"
        "1,2018-04-01 00:00:31,5,3156,57.16,0\n2,2018-04-01 00:02:10,4,3412,81.51,1\n"
    )
    some = list(itertools.islice(endless(table, "card", settings()), 5))
    assert len({row.transaction.transaction_id for row in some}) == 5
    flags = ["--columns=card", "--messages=100", "--learner=linear", f"--json={tmp_path}/f.json"]
    monkeypatch.setattr(sys, "argv", ["fuzz.py", str(table), *flags])
    main()
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["messages"] == 100
    assert sum(found["refused"].values()) == found["outcomes"]["refused"]
