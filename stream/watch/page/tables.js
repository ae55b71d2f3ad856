// Windows and segments as tables.

import { at, h, say } from "./dom.js";
import * as f from "./format.js";
import { whisker } from "./quality.js";

const COLUMNS = [
  ["Transactions", (w) => f.whole(w.transactions)],
  ["Labelled", (w) => f.percent(w.label_coverage)],
  ["Alerts", (w) => f.whole(w.alerts)],
  ["Precision", (w) => f.rate(w.precision)],
  ["Recall", (w) => f.rate(w.recall)],
  ["F1", (w) => f.rate(w.f1)],
  ["Average precision", (w) => f.rate(w.average_precision)],
  ["Estimated precision", (w) => f.rate(w.estimated_precision)],
  ["Caught", (w) => f.amount(w.amount_caught)],
  ["Missed", (w) => f.amount(w.amount_missed)],
  ["False", (w) => f.amount(w.amount_false)],
  ["Threshold", (w) => f.score(w.threshold)],
];

const cell = (text) => h("td", {}, text);

export const showWindows = (points) => {
  at("windows").replaceChildren(
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Window (UTC)"), COLUMNS.map(([name]) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, [...points].reverse().map((point) =>
      h("tr", { class: point.matured ? "" : "waiting" },
        h("th", { scope: "row" }, f.day(point.start)), COLUMNS.map(([, of]) => cell(of(point)))))),
  );
};

const RATES = [
  ["precision", "Precision"],
  ["false_negative_rate", "Missed of frauds (false negative rate)"],
  ["false_positive_rate", "Flagged of legitimate (false positive rate)"],
];

/** A rate and its interval. False positives are rare: their bars reach to a common maximum. */
const measured = (rate, kind, most) =>
  h("td", { class: "measured" }, rate
    ? h("div", {}, h("span", { class: "value" }, kind === "false_positive_rate" ? f.percent(rate.value) : f.rate(rate.value)),
      whisker(rate.value / most, [rate.low / most, Math.min(rate.high / most, 1)], kind),
      h("span", { class: "note" }, kind === "false_positive_rate" ? `${f.percent(rate.low)} to ${f.percent(rate.high)}` : f.interval([rate.low, rate.high])))
    : f.UNKNOWN);

const most = (group, kind) =>
  (kind === "false_positive_rate" ? Math.max(...group.values.map((row) => (row[kind] ? row[kind].high : 0)), 1e-9) : 1);

const table = (group) =>
  h("table", { class: "figures segments" },
    h("caption", {}, `by ${group.field}`, group.left_out ? h("span", { class: "note" }, ` (${group.left_out} more values are rarer)`) : null),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, group.field), ["Transactions", "Alerts", "Frauds"].map((name) => h("th", { scope: "col" }, name)), RATES.map(([, words]) => h("th", { scope: "col", class: "measured" }, words)))),
    h("tbody", {}, group.values.map((row) =>
      h("tr", {}, h("th", { scope: "row" }, row.value), cell(f.whole(row.transactions)), cell(f.whole(row.alerts)), cell(f.whole(row.frauds)),
        RATES.map(([kind]) => measured(row[kind], kind, most(group, kind)))))));

export const showSegments = (groups, confidence) => {
  say(at("segments-basis"), groups.length ? `Of the matured windows. Ranges hold the true rate with ${f.percent(confidence)}: where two overlap, the groups need not differ.` : "No window of this range tells segments apart yet.");
  at("segments").replaceChildren(...groups.map(table));
};
