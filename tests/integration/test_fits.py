"""Fits that one worker does for all of its group, on the embedded bus and on Apache Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event

import numpy as np
import pytest

import stream.io.fits as fits_module
from stream.__main__ import topic_specs
from stream.core.trees import Fit, Trees
from stream.io.background import Background
from stream.io.bus import Message, connect
from stream.io.fits import SharedFits
from stream.settings import Settings
from tests.streams import eventually, everything, settings, topics

PARTITIONS = 2


class Group:
    """Workers of a group, as far as they fit."""

    def __init__(self, of: Settings, stack: ExitStack) -> None:
        self._of = of
        self._stack = stack
        self._publisher = connect(of.bus).publisher()
        stack.callback(self._publisher.close)

    def worker(self, *owned: int) -> SharedFits:
        """One that owns these partitions, and is where the others are."""
        background = self._stack.enter_context(Background("fit"))
        fits = SharedFits(self._of, background, connect(self._of.bus), set(owned), PARTITIONS)
        self._stack.callback(fits.close)
        fits.open()
        fits.waits = True
        return fits

    def published(self) -> int:
        """How many fits are on the topic."""
        return len(everything(connect(self._of.bus), self._of.fits_topic))

    def publish(self, *messages: Message) -> None:
        self._publisher.publish(messages)
        self._publisher.flush()


@pytest.fixture
def group(url: str, unique: str) -> Iterator[Group]:
    chosen = settings(bus=url, group=unique, partitions=PARTITIONS, **topics(unique))
    connect(url).create_topics(topic_specs(chosen))
    with ExitStack() as stack:
        yield Group(chosen, stack)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough for a slow machine."""
    monkeypatch.setattr(fits_module, "_LEAST_PATIENCE_SECONDS", 20.0)
    monkeypatch.setattr(fits_module, "_MOST_PATIENCE_SECONDS", 20.0)


def due(of: SharedFits) -> Fit:
    """A fit that is the turn of a worker."""
    return next(fit for fit in map(due_of, range(100)) if of.mine(fit))


def due_of(seed: int) -> Fit:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 2)).astype(np.float32)
    return Fit(("a", "b"), features, features[:, 0] > 1.0, np.ones(400), "weights", 0.1, seed)


@pytest.mark.usefixtures("patient")
def test_each_fit_is_the_turn_of_one_worker_and_the_others_have_its_trees(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, idle = group.worker(0), group.worker(1), group.worker()
    fit = due(one)
    assert not other.mine(fit)
    trees = one.submit(fit).result()
    assert group.published() == 1
    theirs = [each.submit(fit) for each in (other, idle)]
    monkeypatch.setattr(Fit, "__call__", lambda _: pytest.fail("fitted once more"))
    assert [each.result().to_bytes() for each in theirs] == [trees.to_bytes()] * 2
    assert theirs[0].result() is theirs[0].result()
    assert group.published() == 1


def test_trees_that_do_not_come_are_fitted_by_whoever_needs_them(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = group.worker(0), group.worker(1)
    fit = due(one)
    caplog.set_level("INFO")
    assert other.submit(fit).result().to_bytes() == fit().to_bytes()
    assert "did not come in time" in caplog.text
    assert group.published() == 0


def test_what_moved_here_after_a_fit_began_is_fitted_here_and_published(group: Group) -> None:
    one, other = group.worker(0), group.worker(1)
    fit = due(one)
    begun = other.submit(fit)
    other._owned.add(0)  # type: ignore[attr-defined] # it is a set here
    assert begun.result().to_bytes() == fit().to_bytes()
    assert group.published() == 1


def test_who_comes_later_has_what_was_fitted_before(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = group.worker(0, 1)
    fit = due(one)
    packed = one.submit(fit).result().to_bytes()
    later = group.worker()
    later.waits = False  # as while it learns what is past
    monkeypatch.setattr(Fit, "__call__", lambda _: pytest.fail("fitted once more"))
    assert later.submit(fit).result().to_bytes() == packed


@pytest.mark.usefixtures("patient")
def test_what_is_no_trees_is_told_and_fitted_anew(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = group.worker(0), group.worker(1)
    fit = due(one)
    topic, key = one._source.topic, other.digest(fit).encode()
    group.publish(
        Message(topic, None, b"nothing", partition=0),
        Message(topic, b"\xff", b"nothing", partition=0),
        Message(topic, key, None, partition=0),
        Message(topic, key, b"", partition=0),
        Message(topic, key, b"rubbish", partition=0),
    )
    found: Trees = other.submit(fit).result()
    assert found.to_bytes() == fit().to_bytes()
    assert "cannot be read" in caplog.text


def test_what_is_held_has_a_bound(group: Group) -> None:
    one = group.worker(0)
    group.publish(
        *(Message(one._source.topic, str(number).encode(), b"x", (), 0) for number in range(600)),
        Message(one._source.topic, b"large", b"x" * 300_000, (), 0),
    )
    later = group.worker(1)
    assert list(later._packed) == [str(number) for number in range(344, 600)]


def test_a_snapshot_would_wait_for_trees_that_are_being_fitted_here(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, go_on = group.worker(0), Event()
    fit, fitted = due(one), Fit.__call__
    monkeypatch.setattr(Fit, "__call__", lambda of: go_on.wait(20.0) and fitted(of))
    trees = one.submit(fit)
    assert not one.settled()
    go_on.set()
    trees.result()
    eventually(one.settled)


def test_a_snapshot_need_not_wait_for_trees_that_have_come(group: Group) -> None:
    one, other = group.worker(0), group.worker(1)
    fit = due(one)
    assert other.settled()
    awaited = other.submit(fit)
    assert not other.settled()
    one.submit(fit).result()
    eventually(other.settled)
    assert awaited.result().to_bytes() == fit().to_bytes()


@pytest.mark.usefixtures("patient")
def test_whoever_does_not_wait_asks_until_trees_have_come(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = group.worker(0), group.worker(1)
    fit = due(one)
    theirs = other.submit(fit)
    assert not any(theirs.done() for _ in range(5))
    packed = one.submit(fit).result().to_bytes()
    monkeypatch.setattr(Fit, "__call__", lambda _: pytest.fail("fitted once more"))
    eventually(theirs.done)
    assert theirs.result().to_bytes() == packed


def test_what_does_not_come_is_fitted_in_the_background_and_the_next_not_waited_for(
    group: Group, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fits_module, "_LEAST_PATIENCE_SECONDS", 0.05)
    one, other = group.worker(0), group.worker(1)
    caplog.set_level("INFO")
    fits = [fit for fit in map(due_of, range(100)) if one.mine(fit)][:2]
    begun = [other.submit(fit) for fit in fits]
    eventually(begun[0].done)
    assert begun[0].result().to_bytes() == fits[0]().to_bytes()
    monkeypatch.setattr(fits_module, "_LEAST_PATIENCE_SECONDS", 1_000.0)
    monkeypatch.setattr(fits_module, "_MOST_PATIENCE_SECONDS", 1_000.0)
    eventually(begun[1].done)
    assert caplog.text.count("did not come in time") == 2
    assert other.settled()
    assert group.published() == 0


def test_a_topic_that_is_not_there_is_told_and_each_fits_for_itself(
    url: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = settings(bus=url, group=unique, partitions=PARTITIONS, **topics(unique))
    others = [spec for spec in topic_specs(chosen) if spec.name != chosen.fits_topic]
    connect(url).create_topics(others)
    with ExitStack() as stack:
        for owned in ({0}, {1}):
            background = stack.enter_context(Background("fit"))
            fits = SharedFits(chosen, background, connect(url), owned, PARTITIONS)
            stack.callback(fits.close)
            fits.open()
            fits.waits = True
            found = fits.submit(fit := due_of(0)).result()
            assert found.to_bytes() == fit().to_bytes()
    assert "weir topics create" in caplog.text
