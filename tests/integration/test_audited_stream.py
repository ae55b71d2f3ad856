"""`weir audit` over a stream that a worker has learned, with its windows in a real store."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from producers.rows import Row
from stream.__main__ import topic_specs
from stream.audit import AuditError
from stream.audit.command import request_of, run_audit
from stream.events import Label, utc
from stream.io.bus import Message, connect
from stream.io.local_redis import LocalRedisServer
from stream.io.store import StoreUnavailable, StoreWriter
from stream.settings import Settings
from tests.servers.worker import worked_through
from tests.streams import everything, label, labels, rows, settings

ROWS = rows(3_000, clients=600)
DELAY = timedelta(hours=3)
MIDDLE = utc(ROWS[1_500].time_seconds).replace(microsecond=0)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stream that was decided and learned, some labels of which were corrected."""
    folder = tmp_path_factory.mktemp("stream")
    with LocalRedisServer() as server:
        made = settings(bus=f"sqlite:///{folder / 'bus.db'}", redis=server.url)
        connect(made.bus).create_topics(topic_specs(made))
        publish(made, ROWS, labels(ROWS, DELAY))
        corrections = [
            label(each.transaction_id, not each.is_fraud, each.labelled_at + timedelta(days=1))
            for each in labels(ROWS[:400], DELAY)[::40]
        ]
        publish(made, (), corrections)
        work(made)
        yield made


def publish(of: Settings, table: Sequence[Row], said: Sequence[Label]) -> None:
    messages = [Message(of.transactions_topic, b"key", _json(row.transaction)) for row in table]
    messages += [Message(of.labels_topic, b"key", _json(each)) for each in said]
    publisher = connect(of.bus).publisher()
    publisher.publish(messages)
    publisher.close()


def _json(event: Any) -> bytes:
    text: str = event.model_dump_json(exclude_none=True)
    return text.encode()


def work(of: Settings) -> None:
    """Run a worker over all there is, with its reports in Redis."""
    store = StoreWriter(
        of.redis, of.redis_prefix, worker="one", window_expiry_seconds=of.window_expiry_seconds
    )
    try:
        worked_through(of, store)
    finally:
        store.close(timeout_seconds=20.0)


def audited(of: Settings, folder: Path, **flags: object) -> dict[str, Any]:
    """What `weir audit` writes."""
    given = {
        "since": None, "until": None, "out": folder, "refold": False, "until_position": None,
        "without_redis": False, "command": "weir audit", **flags,
    }  # fmt: skip
    run_audit(of, request_of(argparse.Namespace(**given)), Event())
    found: dict[str, Any] = json.loads((folder / "audit.json").read_text())
    return found


def examples(of: Settings) -> list[dict[str, Any]]:
    return [json.loads(r.value or b"") for r in everything(connect(of.bus), of.training_topic)]


def test_the_counts_are_those_of_the_log_and_of_what_was_decided(
    stream: Settings, tmp_path: Path
) -> None:
    found, told = audited(stream, tmp_path), examples(stream)
    log, whole = found["log"], found["log"]["whole"]
    assert log["examples"] == len(told) == sum(log["sources"].values())
    assert whole["examples"]["fraud"] == sum(each["is_fraud"] for each in told)
    assert sum(whole["corrections"].values()) == 10
    assert (
        sum(day["examples"]["legitimate"] for day in log["days"])
        == (whole["examples"]["legitimate"])
    )
    truth = {each.transaction_id: each.is_fraud for each in labels(ROWS)}
    truth |= {each.transaction_id: not each.is_fraud for each in labels(ROWS[:400])[::40]}
    assert whole["fraud_rate"] == pytest.approx(sum(truth.values()) / len(truth), rel=0.1)
    measures = found["quality"]["whole"]["measures"]
    assert measures["transactions"] == measures["labelled"] == len(ROWS)
    assert measures["frauds"] == sum(truth.values())
    assert whole["recall"] == pytest.approx(measures["recall"], abs=0.02)
    low, high = found["quality"]["whole"]["recall_interval"]
    assert low < measures["recall"] < high
    assert sum(day["measures"]["alerts"] for day in found["quality"]["days"]) == measures["alerts"]
    assert found["balance"]["strategy"] == stream.rebalance
    assert found["workers"] == ["one"]


def test_the_digest_is_that_of_the_values_and_comes_again_when_the_log_has_grown(
    stream: Settings, tmp_path: Path
) -> None:
    first = audited(stream, tmp_path / "first", since=MIDDLE)["log"]
    values = [
        record.value or b""
        for record in everything(connect(stream.bus), stream.training_topic)
        if datetime.fromisoformat(json.loads(record.value or b"")["timestamp"]) >= MIDDLE
    ]
    digest = hashlib.sha256(b"".join(value + b"\n" for value in values)).hexdigest()
    assert first["sha256"] == digest
    assert first["examples"] == len(values)
    newest = labels(ROWS[-50:], timedelta(days=2))
    contrary = [label(e.transaction_id, not e.is_fraud, e.labelled_at) for e in newest]
    publish(stream, (), contrary)
    work(stream)
    until = first["read_to"]
    later = audited(stream, tmp_path / "later", since=MIDDLE)["log"]
    again = audited(stream, tmp_path / "again", since=MIDDLE, until_position=until)["log"]
    assert later["sha256"] != digest
    assert again == first


def test_a_model_learned_anew_is_what_every_window_says_was_in_force(
    stream: Settings, tmp_path: Path
) -> None:
    refold = audited(stream, tmp_path / "same", refold=True)["refold"]
    assert refold["learned"] == len(examples(stream))
    assert refold["windows_compared"] > 50
    assert refold["windows_that_differ"] == 0
    assert refold["threshold_moves"][0]["reason"].startswith("labels decide now")
    assert refold["threshold_moves"][-1]["threshold"] == refold["threshold"]
    other = stream.model_copy(update={"prior_half_life": 500.0})
    refold = audited(other, tmp_path / "other", refold=True)["refold"]
    assert refold["windows_that_differ"] > 50
    assert refold["differing"][0]["fraud_prior"] != refold["differing"][0]["fraud_prior_in_force"]


def test_the_page_needs_nothing_but_itself_and_tells_no_secret(
    stream: Settings, tmp_path: Path
) -> None:
    secret = stream.model_copy(update={"redis": "redis://ann:s3cret@nowhere.example:1/0"})
    with pytest.raises(StoreUnavailable):
        audited(secret, tmp_path)
    audited(secret, tmp_path, without_redis=True)
    for name in ("audit.json", "audit.html"):
        assert "s3cret" not in (tmp_path / name).read_text()
    audited(stream, tmp_path, refold=True)
    text = (tmp_path / "audit.html").read_text()
    assert "http" not in text
    assert "<script" not in text
    assert "nan" not in text.lower().replace("nance", "").split()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.count["svg"] >= 6


class Page(HTMLParser):
    """Checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None: ...


def test_a_time_of_which_nothing_was_learned_is_said(stream: Settings, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="holds no example of that time"):
        audited(stream, tmp_path, since=datetime(2100, 1, 1, tzinfo=UTC))
