"""`weir alerts`: what is on the alerts topic, as lines."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream.events import Alert, Reason, alert_id
from stream.io.bus import Broker, Message, TopicSpec, connect
from stream.watch.alerts import HEADER, Wanted, follow_alerts

TOPIC = "alerts"


def alert(number: int) -> Alert:
    return Alert(
        alert_id=alert_id(f"T{number}"),
        transaction_id=f"T{number}",
        timestamp=datetime(2026, 1, 1, 2, 3, number, tzinfo=UTC),
        decided_at=datetime(2026, 1, 2, tzinfo=UTC),
        type="TRANSFER",
        amount=1181.5,
        nameOrig="C1305486145",
        nameDest="C553264065",
        score=0.97,
        threshold=0.3,
        model_position=3,
        reasons=(
            Reason(feature="drains", value=1.0, habit=0.0, effect=2.5),
            Reason(feature="dest_empty", value=1.0, habit=0.1, effect=1.5),
        ),
    )


def publish(broker: Broker, *values: bytes) -> None:
    publisher = broker.publisher()
    publisher.publish([Message(TOPIC, b"key", value) for value in values])
    publisher.flush()
    publisher.close()


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    broker = connect(f"sqlite:///{tmp_path}/bus.db")
    broker.create_topics([TopicSpec(TOPIC, 2)])
    return broker


def test_alerts_are_printed_as_a_table_up_to_the_end(broker: Broker) -> None:
    publish(broker, *(alert(n).model_dump_json().encode() for n in range(3)))
    out = io.StringIO()
    follow_alerts(broker.reader(), TOPIC, 2, follow=False, as_json=False, out=out)
    lines = out.getvalue().splitlines()
    assert lines[0] == HEADER
    assert lines[1] == (
        "2026-01-01 02:03:00  0.970  TRANSFER         1,181.50  C1305486145 -> C553264065   "
        "drains the account, destination was empty"
    )
    assert len(lines) == 4


def test_json_lines_are_those_of_the_topic_to_the_letter(broker: Broker) -> None:
    values = [b'{"alert_id": "x",  "more":[1]}', alert(1).model_dump_json().encode()]
    publish(broker, *values)
    out = io.StringIO()
    follow_alerts(broker.reader(), TOPIC, 2, follow=False, as_json=True, out=out)
    assert out.getvalue().encode().splitlines() == values


def test_what_is_no_alert_is_left_out_of_the_table_and_logged(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    publish(broker, b"{}", alert(1).model_dump_json().encode())
    out = io.StringIO()
    follow_alerts(broker.reader(), TOPIC, 2, follow=False, as_json=False, out=out)
    assert len(out.getvalue().splitlines()) == 2
    assert "no alert" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), [0, 1, 2, 3]),
        (Wanted(since=datetime(2026, 1, 1, 2, 3, 2, tzinfo=UTC)), [2, 3]),
        (Wanted(until=datetime(2026, 1, 1, 2, 3, 2, tzinfo=UTC)), [0, 1]),
        (Wanted(min_score=0.72), [2, 3]),
        (Wanted(min_amount=300), [3]),
        (Wanted(type="DEBIT"), []),
        (Wanted(account="C553264065"), [0, 1, 2, 3]),
        (Wanted(account="C1"), [1]),
        (Wanted(transaction_id="T2"), [2]),
        (Wanted(account="C1", min_score=0.9), []),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_only_those_are_printed_that_are_asked_for(
    broker: Broker, wanted: Wanted, found: list[int], as_json: bool
) -> None:
    alerts = [
        alert(n).model_copy(
            update={"score": 0.7 + n / 100, "amount": 100.0 * n, "nameOrig": f"C{n}"}
        )
        for n in range(4)
    ]
    publish(broker, *(each.model_dump_json().encode() for each in alerts))
    out = io.StringIO()
    follow_alerts(broker.reader(), TOPIC, 2, follow=False, as_json=as_json, wanted=wanted, out=out)
    lines = out.getvalue().splitlines()
    if as_json:
        assert [json.loads(line)["transaction_id"] for line in lines] == [f"T{n}" for n in found]
    else:
        assert [line.split(" -> ")[0].split()[-1] for line in lines[1:]] == [f"C{n}" for n in found]


def test_a_limit_ends_it(broker: Broker) -> None:
    publish(broker, *(alert(n).model_dump_json().encode() for n in range(9)))
    out = io.StringIO()
    follow_alerts(broker.reader(), TOPIC, 2, follow=True, as_json=True, limit=4, out=out)
    assert [json.loads(line)["transaction_id"] for line in out.getvalue().splitlines()] == [
        "T0",
        "T1",
        "T2",
        "T3",
    ]


@pytest.mark.parametrize(("from_beginning", "expected"), [(True, ["T1", "T2"]), (False, ["T2"])])
def test_following_waits_for_more_until_it_is_stopped(
    broker: Broker, from_beginning: bool, expected: list[str]
) -> None:
    publish(broker, alert(1).model_dump_json().encode())
    stop, out = threading.Event(), io.StringIO()
    following = threading.Thread(
        target=lambda: follow_alerts(
            broker.reader(),
            TOPIC,
            2,
            follow=True,
            as_json=True,
            from_beginning=from_beginning,
            out=out,
            stop=stop,
        )
    )
    following.start()
    time.sleep(0.5)
    publish(broker, alert(2).model_dump_json().encode())
    deadline = time.monotonic() + 10
    while "T2" not in out.getvalue() and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    following.join(10)
    assert not following.is_alive()
    ids = [json.loads(line)["transaction_id"] for line in out.getvalue().splitlines()]
    assert ids == expected


def test_it_ends_quietly_when_nobody_reads_any_more(broker: Broker) -> None:
    publish(broker, *(alert(n).model_dump_json().encode() for n in range(9)))
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        follow_alerts(broker.reader(), TOPIC, 2, follow=True, as_json=False, out=out)


def test_it_ends_while_it_waits_when_its_reader_goes(broker: Broker) -> None:
    publish(broker, alert(1).model_dump_json().encode())
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out:
        following = threading.Thread(
            target=lambda: follow_alerts(
                broker.reader(), TOPIC, 2, follow=True, as_json=True, out=out
            )
        )
        following.start()
        assert b"T1" in os.read(reading, 10_000)
        os.close(reading)  # as `head -1` does
        following.join(30)
        assert not following.is_alive()
