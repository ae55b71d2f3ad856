"""The three handlers together: the laws of the journey."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from stream.core.detector import Before, Detector
from stream.core.evaluate import Scorecard, evaluate
from stream.core.model import Model
from stream.core.windows import measure
from stream.io import packing
from stream.io.checkpoint import Checkpoint
from stream.io.state import frozen, pack_shard, unpack_shard
from tests.streams import labels, rows, settings

ROWS = rows(3_000)


def detector(**given: object) -> Detector:
    chosen = settings(**given)
    made = Detector(chosen, Model(chosen))
    made.open(0)
    return made


def journey(of: Detector, part: slice) -> np.ndarray:
    """Score rows in batches, each learned right after; return the scores."""
    scores = []
    some = ROWS[part]
    for i in range(0, len(some), 100):
        batch = some[i : i + 100]
        scores.append(of.on_transactions(0, [row.transaction for row in batch]).scores)
        _, examples = of.on_labels(0, labels(batch))
        of.on_examples(examples, of.model.position + len(examples))
    return np.concatenate(scores)


def test_alerts_are_the_scores_at_or_above_the_threshold_each_with_its_reasons() -> None:
    made = detector()
    journey(made, slice(0, 2_000))
    made.model.threshold.value = 0.5
    found = made.on_transactions(0, [row.transaction for row in ROWS[2_000:]])
    assert np.array_equal(found.alerts, found.scores >= found.thresholds)
    assert 0 < found.alerts.sum() < 500
    assert len(found.why) == found.alerts.sum()
    names = set(made.shards[0].features.names)
    assert all({reason.feature for reason in why.reasons} <= names for why in found.why)
    assert sum(bool(why.reasons) for why in found.why) > 0.9 * len(found.why)
    voting = made.model.weights()
    assert all(why.members and why.members.keys() <= voting.keys() for why in found.why)
    assert all(0 <= share <= 1 for why in found.why for share in why.members.values())


def test_a_transaction_that_comes_twice_is_decided_once() -> None:
    made = detector()
    batch = [row.transaction for row in ROWS[:50]]
    assert len(made.on_transactions(0, [*batch, *batch[:10]]).transactions) == 50
    assert len(made.on_transactions(0, batch).transactions) == 0
    assert made.shards[0].duplicates == 60
    assert measure(made.shards[0].windows.changed()).transactions == 50


def test_splitting_a_batch_changes_no_score() -> None:
    whole, split = detector(), detector()
    for one in (whole, split):
        journey(one, slice(0, 1_000))
    batch = [row.transaction for row in ROWS[1_000:2_000]]
    at_once = whole.on_transactions(0, batch)
    parts = [split.on_transactions(0, batch[i : i + 7]) for i in range(0, len(batch), 7)]
    assert np.array_equal(at_once.scores, np.concatenate([part.scores for part in parts]))
    assert np.array_equal(at_once.alerts, np.concatenate([part.alerts for part in parts]))


def test_an_example_carries_the_features_and_the_score_of_the_moment_of_scoring() -> None:
    # Thins hard: only frauds and very few others.
    made = detector(rebalance="under", target_share=0.9)
    journey(made, slice(0, 1_000))
    before = made.on_transactions(0, [row.transaction for row in ROWS[1_000:1_200]])
    journey(made, slice(1_200, 2_000))
    _, examples = made.on_labels(0, labels(ROWS[1_000:1_200]))
    scores = {
        tx.transaction_id: score
        for tx, score in zip(before.transactions, before.scores.tolist(), strict=True)
    }
    frauds = [row for row in ROWS[1_000:1_200] if row.is_fraud]
    assert {e.transaction_id for e in examples if e.is_fraud} == {
        row.transaction.transaction_id for row in frauds
    }
    assert all(example.score == scores[example.transaction_id] for example in examples)
    assert all(example.weight == 1.0 for example in examples if example.is_fraud)


def test_weights_of_the_log_stand_for_all_that_was_labelled() -> None:
    made, weight, count = detector(rebalance="under", target_share=0.2), 0.0, 0
    for i in range(0, 3_000, 100):
        made.on_transactions(0, [row.transaction for row in ROWS[i : i + 100]])
        _, examples = made.on_labels(0, labels(ROWS[i : i + 100]))
        weight += sum(example.weight for example in examples)
        count += len(examples)
        made.on_examples(examples, made.model.position + len(examples))
    assert count < 1_500
    assert weight == pytest.approx(3_000, rel=0.1)


def test_equal_logs_make_equal_models_however_they_are_cut() -> None:
    made, log = detector(learner="auto"), []
    for i in range(0, 1_000, 100):
        made.on_transactions(0, [row.transaction for row in ROWS[i : i + 100]])
        _, examples = made.on_labels(0, labels(ROWS[i : i + 100]))
        log += examples
        made.on_examples(examples, len(log))
    replica = detector(learner="auto")
    for i in range(0, len(log), 37):
        replica.on_examples(log[i : i + 37], i + 37)
    names = made.shards[0].features.names
    probe = np.array([[e.features[n] for n in names] for e in log[:50]], dtype=np.float32)
    assert np.array_equal(replica.model.scores(names, probe), made.model.scores(names, probe))
    assert replica.model.threshold.value == made.model.threshold.value
    assert replica.model.prior.value == made.model.prior.value


def test_going_on_from_snapshots_of_model_and_accounts_equals_going_on(tmp_path: Path) -> None:
    made = detector(learner="auto")
    journey(made, slice(0, 1_000))
    checkpoint = Checkpoint(tmp_path, made.settings)
    checkpoint.save(made.model)
    accounts = pack_shard(made.shards[0])

    model = checkpoint.load()
    assert model is not None
    resumed = Detector(made.settings, model)
    unpack_shard(accounts, resumed.open(0))
    assert np.array_equal(journey(made, slice(1_000, 2_000)), journey(resumed, slice(1_000, 2_000)))
    assert made.shards[0].windows.changed() == resumed.shards[0].windows.changed()
    assert made.threshold == resumed.threshold


@pytest.mark.parametrize("reserved", [100, 4_000_000])
@pytest.mark.parametrize("bounds", [{}, {"max_accounts": 300, "max_pending": 400}])
def test_a_snapshot_is_that_of_its_moment_however_long_it_is_copied(
    bounds: dict[str, int], reserved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where accounts are evicted, the ring goes round, and arrays grow meanwhile."""
    monkeypatch.setattr("stream.core.accounts.RESERVED", reserved)
    monkeypatch.setattr("stream.core.pending.RESERVED", reserved)
    monkeypatch.setattr(packing, "_PIECE_BYTES", 2_000)
    made = detector(**bounds)
    made.on_transactions(0, [row.transaction for row in ROWS[:600]])
    made.on_labels(0, labels(ROWS[:300]))
    before = pack_shard(made.shards[0])
    packer, packed, at = packing.Packer(10_000), list[bytes](), 600
    for number, piece in enumerate(packing.pieces(frozen(made.shards[0]))):
        packed += packer.add(piece)
        if number % 4 == 0 and at < 1_600:
            made.on_labels(0, labels(ROWS[at - 300 : at - 250]))
            journey(made, slice(at, at + 50))
            at += 50
    assert b"".join([*packed, *packer.close()]) == before != pack_shard(made.shards[0])
    assert at == 1_600


def test_what_was_decided_before_stands_whatever_the_model_has_learned_since() -> None:
    made, again = detector(), detector()
    transactions = [row.transaction for row in ROWS[:1_000]]
    decisions = made.on_transactions(0, transactions)
    journey(again, slice(1_000, 2_000))
    again.open(0)
    before = Before(
        {
            tx.transaction_id: (float(score), float(threshold))
            for tx, score, threshold in zip(
                transactions, decisions.scores, decisions.thresholds, strict=True
            )
        },
        made.model.state(),
    )
    repeated = again.on_transactions(0, transactions, before)
    assert np.array_equal(repeated.scores, decisions.scores)
    assert np.array_equal(repeated.alerts, decisions.alerts)
    assert pack_shard(again.shards[0]) == pack_shard(made.shards[0])


def test_thinned_examples_stand_for_as_many_and_are_drawn_again_as_they_were() -> None:
    transactions = [row.transaction for row in ROWS[:2_000]]
    told = labels(ROWS[:2_000], timedelta(hours=1))
    sent, shards, states = {}, {}, {}
    for thinning in (1.0, 0.2):
        made = detector(rebalance="none")
        made.thinning = thinning
        decisions = made.on_transactions(0, transactions)
        sent[thinning] = made.on_labels(0, told)[1]
        shards[thinning], states[thinning] = pack_shard(made.shards[0]), made.state()
    given = zip(decisions.scores.tolist(), decisions.thresholds.tolist(), strict=True)
    decided = dict(zip((tx.transaction_id for tx in transactions), given, strict=True))
    frauds = sum(bool(row.is_fraud) for row in ROWS[:2_000])
    for examples in sent.values():
        assert sum(example.is_fraud for example in examples) == frauds
        assert sum(example.weight for example in examples) == pytest.approx(2_000, rel=0.1)
    assert len(sent[1.0]) == 2_000
    assert len(sent[0.2]) == pytest.approx(frauds + 0.2 * (2_000 - frauds), rel=0.1)

    again = detector(rebalance="none")
    before = Before(decided, states[0.2])
    again.on_transactions(0, transactions, before)
    assert again.on_labels(0, told, before)[1] == sent[0.2]
    assert pack_shard(again.shards[0]) == shards[0.2]


def test_a_snapshot_of_other_settings_or_a_damaged_one_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = detector()
    checkpoint = Checkpoint(tmp_path, made.settings)
    checkpoint.save(made.model)
    assert Checkpoint(tmp_path, settings(half_lives_hours=(5.0,))).load() is None
    assert "made with another settings: not used" in caplog.text
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert checkpoint.load() is None
    assert "is left alone" in caplog.text


def test_an_evaluation_over_a_table_grades_every_labelled_transaction() -> None:
    made, scorecard = detector(), Scorecard(timedelta(days=1))
    made.shards.clear()
    table = [(row.transaction, bool(row.is_fraud)) for row in ROWS]
    evaluate(made, table, timedelta(hours=6), scorecard)
    found = scorecard.quality()
    later = [row for row in ROWS if row.time_seconds >= ROWS[0].time_seconds + 86_400]
    assert found.labelled == len(later)
    assert found.frauds == sum(bool(row.is_fraud) for row in later)
    assert found.average_precision is not None
    assert found.average_precision > 5 * found.frauds / found.labelled
    windows = measure(made.shards[0].windows.changed())
    assert windows.transactions == windows.labelled == len(ROWS)


@pytest.mark.parametrize(("policy", "count"), [("alert_budget:5", 5.0), ("f_beta:1", 20.0)])
def test_a_budget_is_that_of_the_policy_or_else_that_of_the_settings(
    policy: str, count: float
) -> None:
    assert detector(threshold=policy).shards[0].budget.count == count


def test_until_labels_decide_no_more_than_a_hundredth_is_flagged() -> None:
    made = detector(alert_budget=1e9)
    journey(made, slice(0, 1_000))
    made.model.threshold.value = None
    alerts = [made.on_transactions(0, [r.transaction for r in ROWS[1_000:]]).alerts.mean()]
    assert 0 < alerts[0] < 0.03


def test_an_unknown_learner_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="learner 'magic' is not known: give one of auto"):
        Model(settings(learner="magic"))
