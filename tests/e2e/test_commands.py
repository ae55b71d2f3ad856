"""The command line as people meet it: help, errors, exit codes, signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from producers.__main__ import main as produce
from stream.core.windows import measure
from stream.io.bus import Message, connect
from stream.io.local_redis import LocalRedisServer
from stream.io.store import StoreReader
from tests.commands import Weir

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")}
COMMANDS = (
    "demo",
    "detect",
    "replay",
    "audit",
    "watch",
    "metrics",
    "dashboard",
    "alerts",
    "dead-letters",
    "topics",
    "schema",
    "check",
)


@pytest.mark.parametrize("command", [(), *[(name,) for name in COMMANDS]])
def test_help_says_what_a_command_does_and_what_its_exit_codes_mean(
    command: tuple[str, ...], weir: Weir
) -> None:
    shown = weir(*command, "--help")
    assert shown.code == 0
    assert "exit codes: 0 done" in shown.out
    assert "(default: None)" not in shown.out


@pytest.mark.parametrize("event", ["transaction", "label", "alert", "example"])
def test_the_schema_of_each_event_is_json_and_describes_it(event: str, weir: Weir) -> None:
    shown = json.loads(weir("schema", event).out)
    assert shown["title"].lower() == event
    assert "transaction_id" in shown["required"]


def test_a_setting_that_is_not_understood_is_named_and_its_value_is_not(weir: Weir) -> None:
    failed = weir("check", WEIR_PARTITIONS="secret-4711")
    assert failed.code == 2
    assert "partitions (WEIR_PARTITIONS)" in failed.err
    assert "4711" not in failed.err + failed.out
    assert "Traceback" not in failed.err


@pytest.mark.parametrize(
    "given",
    [("demo", "--bus", "kafka://x"), ("detect", "--until"), ("dead-letters", "list", "--lim", "1")],
)
def test_a_flag_that_a_command_does_not_have_is_no_other_one(
    given: tuple[str, ...], weir: Weir
) -> None:
    failed = weir(*given)
    assert failed.code == 2
    assert f"unrecognized arguments: {given[-1 if len(given) == 2 else -2]}" in failed.err


def test_a_policy_or_learner_that_is_not_known_is_a_usage_error(tmp_path: Path, weir: Weir) -> None:
    bus = f"sqlite:///{tmp_path}/bus.db"
    assert weir("topics", "create", WEIR_BUS=bus).code == 0
    for setting in ({"WEIR_LEARNER": "magic"}, {"WEIR_THRESHOLD": "magic:1"}):
        failed = weir("detect", WEIR_BUS=bus, **setting)
        assert failed.code == 2, failed.err
        assert "give" in failed.err.lower()
        assert "Traceback" not in failed.err


def test_looking_back_where_nothing_was_decided_fails_with_what_to_do(
    tmp_path: Path, weir: Weir
) -> None:
    bus = {"WEIR_BUS": f"sqlite:///{tmp_path}/bus.db", "WEIR_REDIS": "redis://127.0.0.1:1/0"}
    assert weir("replay", "--from", "7d", **bus).code == 3
    assert weir("topics", "create", **bus).code == 0
    for command, code, says in (
        (("replay", "--from", "7d"), 1, "weir detect"),
        (("replay", "--from", "7d", "--learner", "magic"), 2, "magic"),
        (("replay", "--from", "soon"), 2, "beginning"),
        (("audit", "--out", f"{tmp_path}/out"), 3, "WEIR_REDIS"),
        (("audit", "--out", f"{tmp_path}/out", "--without-redis"), 1, "no example"),
        (("audit", "--out", f"{tmp_path}/bus.db", "--without-redis"), 2, "--out"),
    ):
        failed = weir(*command, **bus)
        assert failed.code == code, failed.err
        assert says in failed.err
        assert "Traceback" not in failed.err


def test_check_says_what_is_missing_and_what_to_do(tmp_path: Path, weir: Weir) -> None:
    env = {
        "WEIR_BUS": f"sqlite:///{tmp_path}/bus.db",
        "WEIR_REDIS": "redis://u:pass4711@127.0.0.1:1/0",
    }
    nothing = weir("check", **env)
    assert nothing.code == 3
    assert "FAIL  bus" in nothing.out
    assert "weir topics create" in nothing.out
    assert "FAIL  redis" in nothing.out
    assert "pass4711" not in nothing.out + nothing.err
    assert weir("topics", "create", **env).out.count("created") == 8
    assert weir("topics", "create", **env).out.count("there already") == 8
    with LocalRedisServer() as redis:
        found = weir("check", **(env | {"WEIR_REDIS": redis.url}))
    assert found.code == 0, found.out
    assert "FAIL" not in found.out


@pytest.mark.parametrize(
    "bus", ["kafka://127.0.0.1:1", "amqp://nowhere", "sqlite:////nowhere/x.db"]
)
def test_a_bus_that_is_not_there_ends_in_one_line(bus: str, weir: Weir) -> None:
    failed = weir("detect", "--until-end", WEIR_BUS=bus)
    assert failed.code == (2 if bus.startswith("amqp") else 3)
    assert "Traceback" not in failed.err
    assert failed.err.strip().splitlines()[-1].startswith("weir: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_its_batch_on_a_signal_and_says_so(
    tmp_path: Path, number: signal.Signals, weir: Weir
) -> None:
    env = {
        "WEIR_BUS": f"sqlite:///{tmp_path}/bus.db",
        "WEIR_REDIS": "redis://127.0.0.1:1/0",
        "WEIR_LEARNER": "linear",
    }
    weir("topics", "create", **env)
    weir("paysim", "--transactions=1000", "--clients=500", "--quiet", entry=produce, **env)
    worker = subprocess.Popen(
        [sys.executable, "-m", "stream", "detect"],
        env=CLEAN | env | {"WEIR_LOG_FORMAT": "json"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stderr is not None
    lines = []
    for line in worker.stderr:  # the first batches are under way once the state is there
        lines.append(json.loads(line))
        if "state restored" in lines[-1]["message"]:
            break
    time.sleep(0.3)
    worker.send_signal(number)
    lines += [json.loads(line) for line in worker.stderr]
    assert worker.wait(30) == 0
    worker.stderr.close()
    assert any("finishing the batch at hand" in line["message"] for line in lines)
    assert any("transactions decided" in line["message"] for line in lines)
    again = weir("detect", "--until-end", f"--summary={tmp_path}/s.json", **env)
    assert again.code == 0, again.err


def test_the_generated_demo_runs_and_ends_by_itself(tmp_path: Path) -> None:
    command = ["demo", "--transactions=2000", "--no-view", "--learner=linear"]
    done = subprocess.run(
        [sys.executable, "-m", "stream", *command, f"--summary={tmp_path}/s.json"],
        env=CLEAN, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    wanted = """transactions decisions dead_letters labels examples learned alerts true_positives
        false_positives frauds precision recall f1 average_precision threshold fraud_prior seconds
        transactions_per_second"""
    assert set(wanted.split()) <= set(summary)
    assert summary["transactions"] == summary["decisions"] == summary["labels"] == 2_000
    assert "decided=2000" in done.stdout
    assert "Summary" in done.stdout


def test_the_demo_shows_its_page_until_it_is_interrupted() -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", "--page", "--port=0", "--transactions=500"],
        env=os.environ | {"WEIR_LEARNER": "linear"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert demo.stderr is not None
    link = next(found[0] for line in demo.stderr if (found := re.search(r"http://\S+", line)))
    deadline, decided = time.monotonic() + 60, 0
    while decided < 500:
        assert time.monotonic() < deadline
        address = f"{link.partition('#')[0]}api/snapshot"
        with urllib.request.urlopen(address) as answer:  # noqa: S310 - our own
            decided = json.loads(answer.read())["now"]["counts"]["decisions"]
        time.sleep(0.2)
    demo.send_signal(signal.SIGINT)
    told, complaints = demo.communicate(timeout=60)
    assert demo.returncode == 0, complaints
    assert "Summary" in told
    assert "Traceback" not in complaints


def test_a_page_that_cannot_be_served_is_said_in_a_line(weir: Weir) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        occupied = weir("dashboard", f"--port={port}")
    assert occupied.code == 1
    assert "in use" in occupied.err
    weak = weir("dashboard", "--port=0", WEIR_DASHBOARD_TOKEN="secret-4711")  # noqa: S106
    assert weak.code == 2
    assert "4711" not in weak.err
    flag = weir("dashboard", "--dashboard-token=secret-4711")
    assert flag.code == 2
    assert "4711" not in flag.err
    for failed in (occupied, weak, flag):
        assert "Traceback" not in failed.err


def test_an_address_with_a_password_is_refused_without_repeating_it(weir: Weir) -> None:
    for command in (("check",), ("detect",)):
        failed = weir(*command, WEIR_BUS="kafka://user:pass4711@127.0.0.1:1")
        assert failed.code in (2, 3)
        assert "pass4711" not in failed.out + failed.err
    failed = weir("watch", "--once", WEIR_REDIS="http://user:pass4711@127.0.0.1")
    assert failed.code == 2
    assert "pass4711" not in failed.out + failed.err
    assert "Traceback" not in failed.err


def test_paths_that_are_not_there_are_said_at_once(tmp_path: Path, weir: Weir) -> None:
    for flags in (
        ("--replay", "nowhere.csv"),
        ("--summary", "/nowhere/s.json"),
        ("--transactions", "0"),
    ):
        failed = weir("demo", "--no-view", *flags)
        assert failed.code == 2
        assert flags[0] in failed.err
    failed = weir("watch", "--once", WEIR_REDIS="redis://127.0.0.1:1/0")
    assert failed.code == 3


def test_dead_letters_are_listed_shown_and_put_back(tmp_path: Path, weir: Weir) -> None:
    bus = f"sqlite:///{tmp_path}/bus.db"
    assert weir("dead-letters", "list", WEIR_BUS=bus).code == 3
    weir("topics", "create", WEIR_BUS=bus)
    raw = b'{"amount": "\x1b[31m\xff"'
    headers = {"reason": "not JSON", "topic": "transactions", "partition": "2", "offset": "7"}
    publisher = connect(bus).publisher()
    publisher.publish(
        [Message("dead-letters", b"k", raw, tuple((k, v.encode()) for k, v in headers.items()))]
    )
    publisher.close()
    listed = json.loads(weir("dead-letters", "list", "--json", WEIR_BUS=bus).out)
    assert (listed["found"], listed["reasons"]) == (1, {"not JSON": 1})
    shown = weir("dead-letters", "show", "0", WEIR_BUS=bus).out
    assert '{"amount": "\\x1b[31m\\xff"' in shown
    written = subprocess.run(
        [sys.executable, "-m", "stream", "dead-letters", "show", "0", "--raw"],
        env=CLEAN | {"WEIR_BUS": bus}, capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert written == raw
    missing = weir("dead-letters", "show", "5", WEIR_BUS=bus)
    assert missing.code == 1
    assert "no dead letter at position 5" in missing.err
    assert weir("dead-letters", "replay", "--from", "-1", WEIR_BUS=bus).code == 2
    done = [weir("dead-letters", "replay", WEIR_BUS=bus).out.splitlines()[0] for _ in range(2)]
    assert done == [
        "1 dead letters replayed: 1 to transactions (positions 0 to 0)",
        "0 dead letters replayed",
    ]


def test_a_full_state_directory_slows_a_restart_and_stops_nothing(
    tmp_path: Path, weir: Weir
) -> None:
    bus = f"sqlite:///{tmp_path}/bus.db"
    weir("topics", "create", WEIR_BUS=bus)
    weir("paysim", "--transactions=500", "--clients=500", "--quiet", entry=produce, WEIR_BUS=bus)
    state = tmp_path / "state"
    state.mkdir()
    (state / "model.partial").symlink_to("/dev/full")
    done = weir(
        "detect", "--until-end", f"--state-dir={state}", f"--summary={tmp_path}/s.json",
        WEIR_BUS=bus, WEIR_LEARNER="linear",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "no snapshot can be written" in done.err
    assert json.loads((tmp_path / "s.json").read_text())["decisions"] == 500


def test_a_restart_leaves_the_windows_as_they_were(tmp_path: Path, weir: Weir) -> None:
    bus = f"sqlite:///{tmp_path}/bus.db"
    weir("topics", "create", WEIR_BUS=bus, WEIR_PARTITIONS="3")
    weir(
        "paysim", "--transactions=8000", "--fraud-rate=0.01", "--clients=3000", "--label-delay=1d",
        "--quiet", entry=produce, WEIR_BUS=bus,
    )  # fmt: skip
    with LocalRedisServer() as server:
        env = {"WEIR_BUS": bus, "WEIR_REDIS": server.url, "WEIR_LEARNER": "linear"}
        shown = []
        for _ in range(2):
            done = weir("detect", "--until-end", **env)
            assert done.code == 0, done.err
            reader = StoreReader(server.url, "weir")
            shown.append(measure(reader.windows()))
            reader.close()
        alerts = len(weir("alerts", "--json", **env).out.splitlines())
    assert shown[0] == shown[1]
    assert shown[0].transactions == 8_000
    assert shown[0].alerts == alerts > 10
