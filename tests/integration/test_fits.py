"""Fits that one worker does for all of its group, on the embedded bus and on Apache Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

import stream.io.fits as fits_module
from stream.__main__ import topic_specs
from stream.core.trees import Fit, Trees
from stream.io.background import Background
from stream.io.bus import Message, connect
from stream.io.fits import SharedFits
from stream.settings import Settings
from tests.streams import settings, topics

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
        reader = connect(self._of.bus).reader()
        fits = SharedFits(self._of, background, reader, set(owned), PARTITIONS)
        self._stack.callback(fits.close)
        fits.open()
        fits.waits = True
        return fits

    def commit(self, of: SharedFits) -> int:
        """Publish what a worker has fitted; return how much that was."""
        fitted = of.messages()
        self.publish(*fitted)
        of.published(fitted)
        return len(fitted)

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
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 2)).astype(np.float32)
    made = (
        Fit(("a", "b"), features, features[:, 0] > 1.0, np.ones(400), "weights", 0.1, seed)
        for seed in range(100)
    )
    return next(fit for fit in made if of.mine(fit))


@pytest.mark.usefixtures("patient")
def test_each_fit_is_the_turn_of_one_worker_and_the_others_have_its_trees(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, idle = group.worker(0), group.worker(1), group.worker()
    fit = due(one)
    assert not other.mine(fit)
    trees = one.submit(fit).result()
    assert group.commit(one) == 1
    assert one.messages() == []
    theirs = [each.submit(fit) for each in (other, idle)]
    monkeypatch.setattr(Fit, "__call__", lambda _: pytest.fail("fitted once more"))
    assert [each.result().to_bytes() for each in theirs] == [trees.to_bytes()] * 2
    assert theirs[0].result() is theirs[0].result()
    assert group.commit(other) == 0


def test_trees_that_do_not_come_are_fitted_by_whoever_needs_them(
    group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = group.worker(0), group.worker(1)
    fit = due(one)
    caplog.set_level("INFO")
    assert other.submit(fit).result().to_bytes() == fit().to_bytes()
    assert "did not come in time" in caplog.text
    assert group.commit(other) == 0


def test_what_moved_here_after_a_fit_began_is_fitted_here_and_published(group: Group) -> None:
    one, other = group.worker(0), group.worker(1)
    fit = due(one)
    begun = other.submit(fit)
    other._owned.add(0)  # type: ignore[attr-defined] # it is a set here
    assert begun.result().to_bytes() == fit().to_bytes()
    assert group.commit(other) == 1


def test_who_comes_later_has_what_was_fitted_before(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = group.worker(0, 1)
    fit = due(one)
    packed = one.submit(fit).result().to_bytes()
    group.commit(one)
    later = group.worker()
    later.waits = False  # as while it learns what is past
    monkeypatch.setattr(Fit, "__call__", lambda _: pytest.fail("fitted once more"))
    assert later.submit(fit).result().to_bytes() == packed


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("value", [b"rubbish", b"", None])
def test_what_is_no_trees_is_told_and_fitted_anew(
    group: Group, caplog: pytest.LogCaptureFixture, value: bytes | None
) -> None:
    one, other = group.worker(0), group.worker(1)
    fit = due(one)
    topic = one._source.topic
    group.publish(
        Message(topic, None, b"nothing", partition=0),
        Message(topic, b"\xff", b"nothing", partition=0),
        Message(topic, fit.digest().encode(), value, partition=0),
    )
    found: Trees = other.submit(fit).result()
    assert found.to_bytes() == fit().to_bytes()
    assert "cannot be read" in caplog.text


def test_what_is_held_has_a_bound(group: Group) -> None:
    one = group.worker(0)
    for number in range(1_000):
        one._hold(str(number).encode(), b"x")
    assert len(one._packed) == 256
    assert "999" in one._packed
