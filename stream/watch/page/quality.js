// Does it still catch fraud? The rates with their uncertainty, amounts, and how they went.

import { lineChart } from "./chart.js";
import { at, h, s, say } from "./dom.js";
import * as f from "./format.js";

const NAMES = { precision: "Precision", recall: "Recall", average_precision: "Average precision" };
const MEANING = {
  precision: (q) => `${f.whole(q.true_positives)} of ${f.many(q.true_positives + q.false_positives, "alert")} were fraud`,
  recall: (q) => `${f.whole(q.true_positives)} of ${f.many(q.frauds, "fraud")} were flagged`,
  average_precision: () => "how well scores rank, at any threshold",
};
const SHORT = { precision: "precision", recall: "recall", average_precision: "average precision" };

/** An interval from 0 to 1 as a bar, with the figure as a tick. */
export const whisker = (value, span, kind) => {
  const x = (at_) => 1 + 98 * at_;
  return s("svg", { class: `whisker ${kind}`, viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "axis", x: 1, width: 98, y: 4.4, height: 1.2 }),
    span && s("rect", { class: "range", x: x(span[0]), width: Math.max(98 * (span[1] - span[0]), 0.5), y: 2, height: 6 }),
    value !== null && value !== undefined && s("rect", { class: "point", x: x(value) - 0.7, width: 1.4, y: 0, height: 10 }));
};

const side = (title, value, span, note, kind) =>
  h("div", { class: `side ${kind}` },
    h("p", { class: "what" }, title),
    h("p", { class: "figure", dataset: { figure: kind } }, f.rate(value)),
    whisker(value, span, kind),
    h("p", { class: "note" }, span ? f.interval(span) : note));

const doubt = (estimate) => (estimate.trusted ? "" : estimate.value === null ? `No estimate: ${estimate.why}.` : `Not to be trusted: ${estimate.why}.`);

const tile = (name, data, ownDoubt) => {
  const estimate = data.estimates[name];
  return h("article", { class: "tile", dataset: { name } },
    h("h3", {}, NAMES[name]),
    h("div", { class: "sides" },
      side("matured", data.quality[name], data.intervals[name], data.quality[name] === null ? "no labels yet" : "", "matured"),
      side("estimated", estimate.value, estimate.low === null ? null : [estimate.low, estimate.high], "", estimate.trusted ? "estimated" : "estimated doubtful")),
    ownDoubt && !estimate.trusted && h("p", { class: "note doubt" }, doubt(estimate)),
    h("p", { class: "basis" }, data.quality.frauds ? MEANING[name](data.quality) : "–"));
};

const money = (data) => {
  const { amount_caught: caught, amount_missed: missed, amount_false: wrong } = data.quality;
  const total = caught + missed;
  const share = total > 0 ? caught / total : null;
  return h("article", { class: "tile", dataset: { name: "amounts" } },
    h("h3", {}, "Fraud in amounts"),
    h("div", { class: "sides" },
      h("div", { class: "side" }, h("p", { class: "what" }, "caught"), h("p", { class: "figure", dataset: { figure: "caught" } }, total > 0 ? f.amount(caught) : f.UNKNOWN), h("p", { class: "note" }, share === null ? "" : `${f.percent(share)} of it`)),
      h("div", { class: "side" }, h("p", { class: "what" }, "missed"), h("p", { class: "figure", dataset: { figure: "missed" } }, total > 0 ? f.amount(missed) : f.UNKNOWN), h("p", { class: "note" }, share === null ? "" : `${f.percent(1 - share)} of it`))),
    h("p", { class: "basis" }, total > 0 ? `${f.amount(wrong)} legitimate were flagged` : "–"));
};

export const showQuality = (data, confidence) => {
  // What speaks against all three is said once.
  const doubts = new Set(Object.keys(NAMES).map((name) => doubt(data.estimates[name])));
  const common = doubts.size === 1 ? [...doubts][0] : "";
  const waiting = data.estimates.windows ? `the newest ${f.many(data.estimates.windows, "window")}, whose labels have not come` : "no window waits for labels";
  const span = data.matured ? `${f.many(data.matured, "matured window")} up to ${f.day(data.matured_until)}, ${f.percent(data.quality.label_coverage)} labelled. ` : "No labels yet in this range. ";
  say(at("quality-basis"), `${span}Estimated: ${waiting}. ${common && data.estimates.windows ? `${common} ` : ""}Ranges hold the true figure with ${f.percent(confidence)}.`);
  at("quality").replaceChildren(...Object.keys(NAMES).map((name) => tile(name, data, doubts.size > 1)), money(data));
};

let chosen = "precision";
let shown = null;

const drawCourse = () => {
  if (!shown) return;
  const series = Object.keys(SHORT).map((name) => ({
    name: SHORT[name],
    kind: name,
    points: shown.points.map((point) => [point.start, point[name]]),
    band: name === chosen && shown.points.map((point) => [point.start, point[`${name}_interval`]]),
  }));
  lineChart(at("course"), series, {
    domain: [0, 1], format: f.rate, empty: "No window in this range has its labels yet.",
    label: "Precision, recall and average precision window by window; the same figures are in the table of windows.",
  });
};

export const showCourse = (data) => {
  shown = data;
  drawCourse();
};

export const chooseCourse = () => {
  const box = at("course-choice");
  box.append(h("span", { class: "basis", "aria-hidden": "true" }, "interval of"));
  for (const [name, words] of Object.entries(SHORT)) {
    const input = h("input", { type: "radio", name: "course", value: name, checked: name === chosen });
    input.addEventListener("change", () => {
      chosen = name;
      drawCourse();
    });
    box.append(h("label", {}, input, h("span", {}, words)));
  }
};
