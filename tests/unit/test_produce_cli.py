"""The command `weir-produce`, as a process on the embedded bus."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from producers.__main__ import main
from producers.options import duration, parser
from stream.events import Label, Transaction
from stream.io.bus import Record, TopicPartition, TopicSpec, connect
from stream.settings import Settings

PAYSIM = (
    "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,"
    "newbalanceDest,isFraud,isFlaggedFraud"
)
COMMAND = (sys.executable, "-m", "producers")


@pytest.fixture
def bus(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bus.db'}"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")}
    return {**kept, **(extra or {})}


def produce(
    *flags: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(env),
    )


def records(bus: str, topic: str) -> list[Record]:
    broker = connect(bus)
    reader = broker.reader()
    try:
        sources = [TopicPartition(topic, number) for number in range(broker.topics()[topic])]
        reader.assign(dict.fromkeys(sources, 0))
        found: list[Record] = []
        while some := reader.poll(10_000, 0):
            found += some
        return found
    finally:
        reader.close()


def transactions(bus: str) -> list[Transaction]:
    return [
        Transaction.model_validate_json(one.value or b"") for one in records(bus, "transactions")
    ]


def labels(bus: str) -> list[Label]:
    return [Label.model_validate_json(one.value or b"") for one in records(bus, "labels")]


def small_table(folder: Path, rows: int = 300) -> Path:
    lines = [
        f"{n // 50},CASH_OUT,{n}.5,C{n},{n}.5,0.0,C{n % 9},0.0,0.0,{int(n % 97 == 0)},0"
        for n in range(rows)
    ]
    path = folder / "table.csv"
    path.write_text("\n".join([PAYSIM, *lines]) + "\n", "utf-8")
    return path


def test_a_table_goes_onto_the_bus_with_its_labels_beside_it(tmp_path: Path, bus: str) -> None:
    summary = tmp_path / "summary.json"
    done = produce(
        "replay",
        small_table(tmp_path),
        *("--columns", "paysim", "--label-delay", "1h", "--bus", bus, "--create-topics"),
        *("--summary", summary),
    )
    assert done.returncode == 0, done.stderr
    assert "done: 300 transactions, 4 frauds, 300 labels" in done.stderr
    said: dict[str, Any] = json.loads(summary.read_text("utf-8"))
    assert (said["transactions"], said["frauds"], said["labels"]) == (300, 4, 300)
    assert said["seconds"] >= 0
    assert said["transactions_per_second"] > 0

    came = {one.transaction_id: one for one in transactions(bus)}
    assert set(came) == {f"paysim-{number}" for number in range(300)}
    assert came["paysim-60"].step == 1
    assert came["paysim-60"].timestamp is None
    assert not any(b"raud" in (one.value or b"") for one in records(bus, "transactions"))

    def where(topic: str) -> dict[str, tuple[int, bytes | None]]:
        return {
            json.loads(one.value or b"")["transaction_id"]: (one.partition, one.key)
            for one in records(bus, topic)
        }

    assert where("transactions") == where("labels")
    assert where("labels")["paysim-10"][1] == b"C1"
    origin = Settings().step_origin
    for label in labels(bus):
        seconds = came[label.transaction_id].time_seconds(origin)
        assert label.labelled_at.timestamp() == seconds + 3600
        assert label.source == "chargeback"
    assert sum(label.is_fraud for label in labels(bus)) == 4


def test_the_generator_goes_onto_the_bus_and_repeats_itself(tmp_path: Path, bus: str) -> None:
    flags = ["paysim", "--transactions", "700", "--clients", "1000", "--fraud-rate", "0.1"]
    flags += ["--label-delay", "30m", "--label-fraction", "0.5", "--label-delay-spread", "5m"]
    flags += ["--create-topics", "--quiet", "--shift", "1:0.5", "--new-pattern", "2:mule"]
    other = f"sqlite:///{tmp_path / 'other.db'}"
    for where in (bus, other):
        done = produce(*flags, "--bus", where)
        assert done.returncode == 0, done.stderr
        assert done.stderr == done.stdout == ""
    wire = [
        [(one.partition, one.offset, one.value) for one in records(at, "transactions")]
        for at in (bus, other)
    ]
    assert wire[0] == wire[1]
    assert len(wire[0]) == 700
    assert len(labels(bus)) == pytest.approx(350, abs=60)
    assert labels(bus) == labels(other)


def test_no_final_labels_keeps_back_what_is_not_due(tmp_path: Path, bus: str) -> None:
    table = small_table(tmp_path)
    flags = ("--columns", "paysim", "--bus", bus, "--create-topics", "--label-delay", "2h")
    assert produce("replay", table, *flags, "--no-final-labels").returncode == 0
    assert len(labels(bus)) == 200  # the last of six steps is 5; due by then are those of 0 to 3


def test_the_key_field_and_topics_come_from_the_settings(tmp_path: Path, bus: str) -> None:
    env = {"WEIR_BUS": bus, "WEIR_KEY_FIELD": "nameOrig", "WEIR_PARTITIONS": "2"}
    env["WEIR_LABELS_TOPIC"] = "verdicts"
    done = produce(
        "replay", small_table(tmp_path, 20), "--columns", "paysim", "--create-topics", env=env
    )
    assert done.returncode == 0, done.stderr
    assert connect(bus).topics() == {"transactions": 2, "verdicts": 2}
    assert {one.key for one in records(bus, "verdicts")} == {b"C%d" % n for n in range(20)}


def test_a_rate_is_kept(tmp_path: Path, bus: str) -> None:
    summary = tmp_path / "summary.json"
    done = produce(
        "replay",
        small_table(tmp_path),
        *("--columns", "paysim", "--bus", bus, "--create-topics", "--rate", "200"),
        *("--summary", summary),
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(summary.read_text("utf-8"))
    assert 1.2 < said["seconds"] < 6
    assert said["labels"] == 300


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_an_endless_stream_cleanly(bus: str, number: int, code: int) -> None:
    running = subprocess.Popen(
        [
            *COMMAND,
            "paysim",
            "--speed",
            "600",
            "--clients",
            "2000",
            "--bus",
            bus,
            "--create-topics",
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if records(bus, "transactions"):
                    break
            except Exception:  # noqa: S110 - the bus is not there yet
                pass
            time.sleep(0.1)
        running.send_signal(number)
        _, said = running.communicate(timeout=20)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == code, said
    count = len(records(bus, "transactions"))
    assert f"stopped: {count:,} transactions" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["replay"], "FILE"),
        (["paysim", "--rate", "5", "--speed", "5"], "not allowed with"),
        (["paysim", "--label-delay", "7"], "not a duration"),
        (["paysim", "--fraud-rate", "2"], "not within 0 and 1"),
        (["paysim", "--fraud-rate", "0.9"], "fraud rate of 0.9"),
        (["paysim", "--shift", "3"], "--shift"),
        (["paysim", "--patterns", "phish"], "'phish' is no pattern"),
        (["paysim", "--new-pattern", "3:phish"], "'phish' is no pattern"),
        (["paysim", "--start", "soon"], "--start"),
        (["paysim", "--transactions", "0"], "must be 1 or more"),
        ([], "SOURCE"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_wrong(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(flags)
    except SystemExit as left:  # argparse leaves by itself
        code = int(str(left.code))
    assert code == 2
    assert said in capsys.readouterr().err


def test_wrong_settings_are_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEIR_KEY_FIELD", "colour")
    assert main(["paysim", "--transactions", "1"]) == 2
    assert "WEIR_KEY_FIELD" in capsys.readouterr().err


def test_missing_topics_are_exit_code_1_and_say_what_to_do(
    tmp_path: Path, bus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["replay", str(small_table(tmp_path)), "--columns", "paysim", "--bus", bus]
    connect(bus).create_topics([TopicSpec("transactions", 2)])
    assert main(flags) == 1
    assert "Topic labels missing" in capsys.readouterr().err
    connect(bus).create_topics([TopicSpec("labels", 3)])
    assert main(flags) == 1
    assert "2 partitions and labels 3" in capsys.readouterr().err


def test_a_bad_table_is_exit_code_1_and_names_the_row(
    tmp_path: Path, bus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"{PAYSIM}\n1,DEBIT,ten,C1,0,0,C2,0,0,0,0\n", "utf-8")
    assert main(["replay", str(path), "--columns", "paysim", "--bus", bus, "--create-topics"]) == 1
    assert "column amount, row 0" in capsys.readouterr().err
    assert main(["replay", str(path), "--bus", bus, "--create-topics"]) == 1
    assert "--map" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["paysim", "replay"])
def test_help_names_every_default_and_unit(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([source, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for words in ("(default: 7d)", "per second", "WEIR_BUS", "(default: 1)", "--create-topics"):
        assert words in said


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800), ("0s", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "-1h", "soon", "nat", "1 fortnight"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        duration(text)
