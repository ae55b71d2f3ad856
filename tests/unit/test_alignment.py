"""Transactions and labels come out by event time, however the topics were read."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.alignment import Alignment, Taken

SLICE = 10


def alignment(partitions: int = 1) -> Alignment[str, str]:
    aligned: Alignment[str, str] = Alignment(SLICE, 1_000)
    for p in range(partitions):
        aligned.open(f"t{p}", f"l{p}")
    return aligned


def put(aligned: Alignment[str, str], source: str, times: list[int], size: int = 0) -> None:
    values, sizes = [f"{source}@{t}" for t in times], np.full(len(times), size)
    aligned.put(source, values, np.array(times, dtype=np.float64), sizes)


def apart(batch: list[Taken[str, str]]) -> list[list[str]]:
    """What comes out at once: transactions, then labels; each that there are."""
    values = [value for taken in batch for value in taken.values]
    kinds = [[v for v in values if v.startswith(kind)] for kind in "tl"]
    assert values == [value for of_kind in kinds for value in of_kind]
    return [of_kind for of_kind in kinds if of_kind]


def drain(aligned: Alignment[str, str], ended: bool) -> list[list[str]]:
    batches = []
    while batch := aligned.take(1_000, lambda _: ended):
        batches += apart(batch)
    return batches


sorted_times = st.lists(st.integers(0, 100), max_size=30).map(sorted)


@given(sorted_times, sorted_times, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_fast_each_topic_is_read(
    transactions: list[int], labels: list[int], chance: random.Random
) -> None:
    at_once = alignment()
    put(at_once, "t0", transactions)
    put(at_once, "l0", labels)
    expected = drain(at_once, ended=True)

    aligned, got = alignment(), []
    waiting = {"t0": transactions, "l0": labels}
    while any(waiting.values()):
        source = chance.choice([s for s, left in waiting.items() if left])
        count = chance.randint(1, 7)
        put(aligned, source, waiting[source][:count])
        waiting[source] = waiting[source][count:]
        while batch := aligned.take(1_000, lambda s: not waiting[s]):
            got += apart(batch)

    def flat(batches: list[list[str]]) -> list[str | tuple[str, ...]]:
        """Splitting a batch of transactions changes nothing; a batch of labels stays whole."""
        out: list[str | tuple[str, ...]] = []
        for batch in batches:
            out += [tuple(batch)] if batch[0].startswith("l") else batch
        return out

    assert flat(got) == flat(expected)


@given(sorted_times, sorted_times)
def test_no_label_is_used_before_its_time_nor_a_slice_too_late(
    transactions: list[int], labels: list[int]
) -> None:
    aligned = alignment()
    put(aligned, "t0", transactions)
    put(aligned, "l0", labels)
    known: list[int] = []
    for batch in drain(aligned, ended=True):
        times = [int(value.split("@")[1]) for value in batch]
        if batch[0].startswith("l"):
            known += times
            continue
        for now in times:
            assert all(t // SLICE <= now // SLICE for t in known)
            assert all(t <= now // SLICE * SLICE for t in known)
            begun = [t for t in labels if t <= now // SLICE * SLICE]
            assert len(known) >= len(begun)


def test_a_source_that_is_behind_holds_up_the_others_and_one_at_its_end_does_not() -> None:
    aligned = alignment()
    put(aligned, "t0", [5, 15])
    assert not aligned.take(10, lambda s: s != "l0")
    assert drain(aligned, ended=True) == [["t0@5", "t0@15"]]


def test_impatience_lets_out_what_waits_for_a_silent_source() -> None:
    aligned = alignment()
    put(aligned, "t0", [5])
    assert aligned.take(10, lambda _: False, patient=False)


def test_what_is_live_waits_for_nobody_and_what_is_past_does() -> None:
    aligned = alignment()

    def take() -> list[list[str]]:
        return apart(aligned.take(10, lambda _: False, live_seconds=(100, 200)))

    put(aligned, "t0", [105, 99, 106])
    assert take() == [["t0@105"]]
    assert take() == []
    put(aligned, "l0", [104, 98])
    assert take() == [["t0@99", "t0@106"], ["l0@104", "l0@98"]]
    put(aligned, "t0", [201])  # nor is what a clock gone wrong says
    assert take() == []


def test_where_all_transactions_are_live_an_old_label_goes_out_and_holds_up_none() -> None:
    aligned = alignment()

    def take() -> list[list[str]]:
        return apart(aligned.take(10, lambda _: False, live_seconds=(100, 200)))

    put(aligned, "l0", [30, 104])
    assert take() == []
    put(aligned, "t0", [105])
    assert take() == [["t0@105"], ["l0@30", "l0@104"]]
    put(aligned, "t0", [50])  # a table is read again: labels have to wait for it
    put(aligned, "l0", [70, 31])
    assert take() == [["t0@50"]]
    assert take() == []


def test_a_clock_gone_wrong_delays_only_its_own_input() -> None:
    aligned = alignment()
    put(aligned, "t0", [5, 10**9])
    put(aligned, "l0", [10**12])
    assert [b for batch in drain(aligned, ended=False) for b in batch] == ["t0@5", "t0@1000000000"]
    assert drain(aligned, ended=True) == [["l0@1000000000000"]]


def test_records_of_a_closed_partition_are_forgotten() -> None:
    aligned = alignment(2)
    for source, time in (("t0", 5), ("t1", 6), ("elsewhere", 1)):
        put(aligned, source, [time])
    aligned.close("t0", "l0")
    assert len(aligned) == 1
    assert drain(aligned, ended=True) == [["t1@6"]]


def test_a_slice_of_labels_comes_whole_up_to_the_bound_of_what_may_wait() -> None:
    aligned: Alignment[str, str] = Alignment(SLICE, 20)
    aligned.open("t0", "l0")
    put(aligned, "t0", [50])
    put(aligned, "l0", [12] * 19)
    assert not aligned.take(5, lambda _: False)
    assert not aligned.full()
    put(aligned, "l0", [12])
    assert aligned.full() == ["l0"]
    ((source, values),) = aligned.take(5, lambda _: False)
    assert (source, len(values)) == ("l0", 20)


def test_large_records_are_enough_before_there_are_many() -> None:
    aligned: Alignment[str, str] = Alignment(SLICE, 1_000, max_bytes=100)
    aligned.open("t0", "l0")
    put(aligned, "t0", [5, 6], size=40)
    assert not aligned.full()
    put(aligned, "t0", [7], size=40)
    assert aligned.full() == ["t0"]
    aligned.take(1, lambda _: True)
    assert not aligned.full()
