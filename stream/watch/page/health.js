// Is it healthy? The verdict, the strip of figures, alarms, and what is wrong with the page itself.

import { at, h, keyed, say } from "./dom.js";
import * as f from "./format.js";

const MARKS = { good: "✓", warn: "!", bad: "✕", unknown: "…" };

const item = (name, value, note, level) =>
  h("div", { class: level || "" }, h("dt", {}, name), h("dd", {}, h("span", { class: "value" }, value), note && h("span", { class: "note" }, note)));

export const showVerdict = (level, words) => {
  const verdict = at("verdict");
  verdict.dataset.level = level;
  say(verdict.querySelector(".mark"), MARKS[level]);
  say(verdict.querySelector(".words"), words);
};

/** What stands above all: why figures are old, what the verdict rests on. */
export const showNotice = (sentences) => {
  const notice = at("notice");
  say(notice, sentences.join(" "));
  notice.hidden = !sentences.length;
};

export const showHealth = (now, coverage) => {
  showVerdict(now.verdict.level, now.verdict.words);
  showNotice(now.trouble ? [now.trouble, "Shown is what was read last."] : now.verdict.notes.filter(() => now.verdict.level !== "good"));
  say(at("event-time"), now.event_time ? `event time ${f.moment(now.event_time)} UTC` : "");
  const decided = now.total ? `of ${f.whole(now.total)}` : "decided";
  const partitions = now.workers.reduce((sum, worker) => sum + worker.partitions, 0);
  at("health").replaceChildren(
    item("Lag", f.whole(now.lag), now.behind_seconds === null ? "standing still" : now.behind_seconds > 1 ? `${f.duration(now.behind_seconds)} at this rate` : "records", now.behind_seconds === null || now.behind_seconds > 5 ? "warn" : ""),
    item("Throughput", now.transactions_per_second === null ? f.UNKNOWN : `${f.whole(now.transactions_per_second)}/s`, "transactions"),
    item("Latency", f.milliseconds(now.latency_p50_ms), `99 %: ${f.milliseconds(now.latency_p99_ms)}`),
    item("Labelled", f.percent(coverage), "of newest windows"),
    item("Decisions", f.whole(now.counts.decisions), decided),
    item("Alerts", f.whole(now.counts.alerts), "since the start"),
    item("Dead letters", f.whole(now.counts.dead_letters), "could not be read", now.counts.dead_letters ? "warn" : ""),
    item("Workers", f.whole(now.workers.length), f.many(partitions, "partition")),
  );
};

export const showAlarms = (alarms) => {
  const box = at("alarms");
  box.hidden = !alarms.length;
  keyed(box, alarms, (alarm) => alarm.name, () => h("article", { class: "alarm" }), (element, alarm) => {
    const text = JSON.stringify(alarm);
    if (element.dataset.text === text) return;
    element.dataset.text = text;
    element.replaceChildren(
      h("h2", {}, h("span", { class: "mark", "aria-hidden": "true" }, "!"), alarm.words),
      h("p", {}, `${alarm.cause}. `, h("strong", {}, `What to look at: ${alarm.look}.`), h("span", { class: "note" }, ` Since ${f.moment(Date.parse(alarm.since) / 1000)} UTC.`)),
    );
  });
};

const COUNTS = {
  labels: "labels read", labels_early: "labels that wait", labels_unknown: "labels of unknown transactions",
  labels_repeated: "labels repeated", labels_corrected: "labels corrected", examples: "examples published",
  pending: "pending", pending_expired: "pending expired", duplicates: "transactions repeated",
  accounts: "accounts", accounts_evicted: "accounts evicted",
};

export const showCounts = (now) => {
  const rows = Object.entries(COUNTS).map(([name, words]) => [words, f.whole(now.counts[name])]);
  if (now.model) {
    rows.push(["examples learned", f.whole(now.model.learned)], ["position in the training log", f.whole(now.model.position)], ["learning per transaction", `${now.model.learning_us.toFixed(0)} µs`]);
  }
  at("counts").replaceChildren(...rows.map(([words, value]) => h("div", {}, h("dt", {}, words), h("dd", {}, value))));
};
