"""`weir evaluate` as people meet it."""

from __future__ import annotations

import csv
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE
from typing import NamedTuple, get_args

import pytest

from stream.core.learners import LEARNERS
from stream.settings import Settings
from tests.streams import rows

FIELDS = [
    *("step", "type", "amount", "nameOrig", "oldbalanceOrg", "newbalanceOrig"),
    *("nameDest", "oldbalanceDest", "newbalanceDest"),
]
WANTED = {
    *("average_precision", "roc_auc", "log_loss", "calibration", "precision", "recall", "f1"),
    *("cost", "alerts_per_day", "microseconds_per_transaction"),
}


def write(path: Path, count: int, *, frauds: bool = True) -> Path:
    first = None
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*FIELDS, "isFraud"])
        for row in rows(count, fraud_rate=0.03):
            first = row.time_seconds if first is None else first
            values = row.transaction.model_dump() | {
                "step": int((row.time_seconds - first) // 3600)
            }
            table.writerow([*(values[f] for f in FIELDS), int(frauds and bool(row.is_fraud))])
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("table") / "table.csv", 4_000)


ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}
ENVIRONMENT["WEIR_LEARNER"] = "linear"
PAYSIM = ("--columns", "paysim", "--label-delay", "6h")
SERVE = """
import contextlib, io, json, sys
from stream.__main__ import main
for line in sys.stdin:
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(out):
        try:
            code = main(["evaluate", *json.loads(line)])
        except SystemExit as error:  # from argparse
            code = error.code
    print(json.dumps([code, out.getvalue(), said.getvalue()]), flush=True)
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, float]:
        assert self.code == 0, self.err
        values: dict[str, float] = json.loads(self.out)
        return values


Weir = Callable[..., Ended]


OWN = """
from river import linear_model, preprocessing

def model():
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()

def bad():
    raise TypeError("no luck")

NUMBER = 3
"""


@pytest.fixture(scope="module")
def weir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weir]:
    """Runs the command again and again in one process, which saves the time that imports take."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine.py").write_text(OWN)
    (folder / "broken.py").write_text("def (")
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        env=ENVIRONMENT | {"PYTHONPATH": str(folder)}, text=True, stdin=PIPE, stdout=PIPE,
    ) as process:  # fmt: skip
        asked, answered = process.stdin, process.stdout
        assert asked
        assert answered

        def run(*arguments: str | Path) -> Ended:
            asked.write(json.dumps(list(map(str, arguments))) + "\n")
            asked.flush()
            return Ended(*json.loads(answered.readline()))

        yield run


def test_json_is_one_object_with_the_figures_and_the_same_every_time(
    weir: Weir, table: Path, tmp_path: Path
) -> None:
    arguments = (table, *PAYSIM, "--score-from", "1d", "--json")
    once = weir(*arguments, "--summary", tmp_path / "summary.json").figures
    again = weir(*arguments).figures
    assert once.keys() >= WANTED
    assert json.loads((tmp_path / "summary.json").read_text()) == once
    for found in (once, again):
        assert found.pop("microseconds_per_transaction") > 0
    assert once == again
    assert once["transactions"] < 4_000
    assert once["average_precision"] > 3 * once["fraud_rate"]


def test_what_is_said_without_json_names_every_figure(table: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stream", "evaluate", table, *PAYSIM, "--transactions", "2000"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert "2,000 transactions graded" in done.stdout
    for name in ("average precision", "ROC AUC", "calibration", "cost", "alerts per day"):
        assert name in done.stdout


def test_a_harder_table_is_graded_by_the_truth(weir: Weir, table: Path) -> None:
    def found(*arguments: str) -> dict[str, float]:
        return weir(table, *PAYSIM, "--json", *arguments).figures

    whole = found()
    unlabelled = found("--label-fraction", "0.5", "--wrong-labels", "0.05")
    assert unlabelled["transactions"] == whole["transactions"]
    assert unlabelled["frauds"] == whole["frauds"]
    assert unlabelled["log_loss"] != whole["log_loss"]
    thinned = found("--thin-frauds", "1:200")
    assert thinned["frauds"] < whole["frauds"] / 2
    assert thinned["transactions"] == whole["transactions"] - whole["frauds"] + thinned["frauds"]
    milder = found("--thin-legitimate", "10")
    assert milder["frauds"] == whole["frauds"]
    assert 8 < (milder["transactions"] - milder["frauds"]) / milder["frauds"] < 12


def test_strategies_are_compared_side_by_side_and_reported_on_one_page(
    weir: Weir, table: Path, tmp_path: Path
) -> None:
    report = tmp_path / "a" / "report"
    arguments = (table, *PAYSIM, "--transactions", "1500", "--compare", "none,under")
    ended = weir(*arguments, "--json", "--report", report)
    assert ended.code == 0, ended.err
    compared = json.loads(ended.out)
    assert list(compared) == ["none", "under"]
    assert all(found.keys() >= WANTED for found in compared.values())
    page = (report / "index.html").read_text()
    assert page.count("<svg") >= 2 + 2 * 6
    assert "weir evaluate" in page
    rows = weir(*arguments, "--share", "0.2").out.splitlines()[-2:]
    assert [row.split()[0] for row in rows] == ["none", "under"]


def test_a_table_of_other_columns_is_mapped(weir: Weir, table: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("isFraud", "verdict", 1))
    failed = weir(other, "--columns", "paysim")
    assert failed.code == 1
    assert "there is no column isFraud for is_fraud" in failed.err
    over = ("--map", "is_fraud=verdict", "--transactions", "2500")
    assert weir(other, *PAYSIM, "--json", *over).figures["transactions"] == 2_500
    alone = ",".join(
        [*(f"{name}={name}" for name in (*FIELDS[:4], "nameDest")), "is_fraud=verdict"]
    )
    assert weir(other, "--json", "--map", alone).figures["transactions"] == 4_000


def test_a_learner_of_the_users_own_is_evaluated(weir: Weir, table: Path) -> None:
    ended = weir(table, *PAYSIM, "--json", "--learner", "mine:model")
    assert ended.figures["average_precision"] > 2 * ended.figures["fraud_rate"]


def test_a_false_alarm_costs_what_the_threshold_policy_says(weir: Weir, table: Path) -> None:
    arguments = (table, *PAYSIM, "--json", "--transactions", "1500", "--threshold", "cost:300")
    for flags, each in (((), 300), (("--false-alarm-cost", "2"), 2)):
        found = weir(*arguments, *flags).figures
        lost = found["cost"] - found["amount_missed"]
        assert lost == pytest.approx(each * found["false_positives"])


def test_it_is_said_when_no_label_came_before_the_table_ended(weir: Weir, table: Path) -> None:
    never = weir(table, "--columns", "paysim", "--label-delay", "90d", "--transactions", "1500")
    assert never.code == 0
    assert "its labels come 90 days late" in never.err


def test_help_names_every_learner_strategy_and_policy(weir: Weir) -> None:
    told = weir("--help")
    assert told.code == 0
    strategies = get_args(Settings.model_fields["rebalance"].annotation)
    policies = ("f_beta", "precision_at_least", "recall_at_least", "cost:", "alert_budget")
    for name in (*LEARNERS, *strategies, *policies):
        assert name in told.out


ERRORS: list[tuple[tuple[str, ...], int, str]] = [
    ((), 2, "no table: give `weir evaluate FILE --columns paysim|card`"),
    (("nowhere.csv", "--columns", "paysim"), 2, "there is no file 'nowhere.csv'"),
    (("TABLE",), 2, "what are the columns of"),
    (("TABLE", "--map", "amount=amount"), 2, "no column says which transactions are frauds"),
    (("TABLE", "--map", "nonsense"), 2, "--map: 'nonsense' is not a mapping"),
    (("TABLE", "--columns", "card"), 1, "there is no column TRANSACTION_ID"),
    (("TABLE", *PAYSIM, "--label-delay", "soon"), 2, "not a duration"),
    (("TABLE", *PAYSIM, "--label-delay", "-1d"), 2, "--label-delay"),
    (("TABLE", *PAYSIM, "--score-from", "99d"), 1, "before --score-from (99 days after"),
    (("TABLE", *PAYSIM, "--learner", "magic"), 2, "learner 'magic' is not known: give one of auto"),
    (("TABLE", *PAYSIM, "--learner", "mine:none"), 2, "has no attribute 'none'"),
    (("TABLE", *PAYSIM, "--learner", "mine:bad"), 2, "TypeError: no luck (mine.py, line 8)"),
    (("TABLE", *PAYSIM, "--learner", "mine:NUMBER"), 2, "cannot be built: TypeError"),
    (("TABLE", *PAYSIM, "--learner", "broken:model"), 2, "(broken.py, line 1)"),
    (("TABLE", *PAYSIM, "--features", "magic:X"), 2, "features 'magic:X' cannot be found"),
    (("TABLE", *PAYSIM, "--threshold", "magic:1"), 2, "threshold policy 'magic:1' is not under"),
    (("TABLE", *PAYSIM, "--rebalance", "magic"), 2, "rebalance (WEIR_REBALANCE): Input should be"),
    (("TABLE", *PAYSIM, "--compare", "none,magic"), 2, "'magic' is none of"),
    (("TABLE", *PAYSIM, "--share", "0.03"), 2, "--rebalance auto, the default, finds its own"),
    (("TABLE", *PAYSIM, "--share", "0.1", "--rebalance", "none"), 2, "none samples nothing"),
    (("TABLE", *PAYSIM, "--share", "3", "--rebalance", "under"), 2, "target_share"),
    (("TABLE", *PAYSIM, "--label-fraction", "2"), 2, "not within 0 and 1"),
    (("TABLE", *PAYSIM, "--thin-frauds", "2"), 2, "--thin-legitimate thins"),
    (("TABLE", *PAYSIM, "--report", "TABLE"), 2, "is a file; give a folder"),
    (("TABLE", *PAYSIM, "--report", "TABLE/in/it"), 2, "cannot be made: Not a directory"),
    (("EMPTY", *PAYSIM), 1, "is empty: there is a header and no row below it"),
    (("NOTHING", *PAYSIM), 1, "cannot be read as CSV"),
    (("HONEST", *PAYSIM), 1, "there is no fraud among its 1,000 rows"),
    (("TABLE", *PAYSIM, "--score-from", "LATE"), 1, "there is no fraud among the"),
]


def test_what_makes_no_sense_is_said_in_one_line(weir: Weir, table: Path, tmp_path: Path) -> None:
    honest, empty, nothing = (tmp_path / f"{name}.csv" for name in ("honest", "empty", "nothing"))
    write(honest, 1_000, frauds=False)
    empty.write_text(honest.read_text().splitlines(keepends=True)[0])
    nothing.touch()
    paths = {"TABLE": table, "HONEST": honest, "EMPTY": empty, "NOTHING": nothing}
    words = {word: str(path) for word, path in paths.items()} | {
        "LATE": after_the_last_fraud(table)
    }
    for arguments, code, said in ERRORS:
        asked = [
            functools.reduce(lambda text, word: text.replace(word, words[word]), words, each)
            for each in arguments
        ]
        ended = weir(*asked)
        assert (ended.code, said in ended.err) == (code, True), (arguments, ended.err)
        assert ended.out == ""
        usage = ended.err.startswith("usage: ")
        assert len(ended.err.strip().splitlines()) == (3 if usage else 1), ended.err


def after_the_last_fraud(table: Path) -> str:
    with table.open(newline="") as file:
        return f"{max(int(r['step']) for r in csv.DictReader(file) if r['isFraud'] == '1') + 1}h"
