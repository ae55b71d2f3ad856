// The precision-recall curve that one can drag along, and what a cut on it would have cost.

import { linear } from "./chart.js";
import { at, h, s, say } from "./dom.js";
import * as f from "./format.js";

const MARGIN = { left: 46, right: 14, top: 26, bottom: 38 };

let curve = null;
let inForce = null;
let wanted = null; // the threshold chosen; null: the one in force

const slider = () => at("cut");
const cost = (i) => {
  const price = Number(at("alarm-cost").value);
  return curve.amount_missed && Number.isFinite(price) && price >= 0 ? curve.false_alarms[i] * price + curve.amount_missed[i] : null;
};

/** The cut that comes closest to a threshold: thresholds fall along the curve. */
const nearest = (threshold) => {
  const odds = (p) => Math.log(p / (1 - p));
  return curve.threshold.reduce((best, value, i) => (Math.abs(odds(value) - odds(threshold)) < Math.abs(odds(curve.threshold[best]) - odds(threshold)) ? i : best), 0);
};

const chosen = () => (wanted === null ? inForce ?? 0 : nearest(wanted));

const LINES = [
  ["Threshold", (i) => f.score(curve.threshold[i])],
  ["Precision", (i) => f.rate(curve.precision[i]), (i) => f.interval([curve.precision_low[i], curve.precision_high[i]])],
  ["Recall", (i) => f.rate(curve.recall[i]), (i) => f.interval([curve.recall_low[i], curve.recall_high[i]])],
  ["Alerts per day", (i) => f.whole(curve.alerts_per_day[i])],
  ["Frauds caught", (i) => f.whole(curve.caught[i])],
  ["Frauds missed", (i) => f.whole(curve.missed[i])],
  ["False alarms", (i) => f.whole(curve.false_alarms[i])],
  ["Amount caught", (i) => f.amount(curve.amount_caught?.[i])],
  ["Amount missed", (i) => f.amount(curve.amount_missed?.[i])],
  ["Cost: false alarms and missed", (i) => f.amount(cost(i))],
];

const compare = () => {
  const columns = [["chosen", chosen()], ["in force", inForce]];
  const figure = (i, of, note) => h("td", {}, i === null ? f.UNKNOWN : [h("span", { class: "value" }, of(i)), note && h("span", { class: "note" }, note(i))]);
  at("comparison").replaceChildren(
    h("caption", { class: "hidden" }, "The threshold chosen beside the one in force"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "hidden" }, "Figure")), columns.map(([name]) => h("th", { scope: "col", class: name.replace(" ", "-") }, name)))),
    h("tbody", {}, LINES.map(([name, of, note]) => h("tr", {}, h("th", { scope: "row" }, name), columns.map(([, i]) => figure(i, of, note))))),
  );
};

const draw = () => {
  const box = at("curve");
  const width = Math.max(box.clientWidth, 240);
  const height = Math.max(box.clientHeight, 200);
  const x = linear(0, 1, MARGIN.left, width - MARGIN.right);
  const y = linear(0, 1, height - MARGIN.bottom, MARGIN.top);
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const cuts = curve.threshold.map((_, i) => i);
  const place = (i, column) => `${x(curve.recall[i]).toFixed(1)} ${y(curve[column][i]).toFixed(1)}`;
  const band = `M${[...cuts.map((i) => place(i, "precision_high")), ...[...cuts].reverse().map((i) => place(i, "precision_low"))].join("L")}Z`;
  const here = chosen();
  const square = (i) => s("rect", { class: "in-force", x: x(curve.recall[i]) - 5, y: y(curve.precision[i]) - 5, width: 10, height: 10, transform: `rotate(45 ${x(curve.recall[i])} ${y(curve.precision[i])})` });
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Precision against recall over all thresholds; the slider below moves along it." },
    ticks.map((tick) => [
      s("line", { class: "grid", x1: x(0), x2: x(1), y1: y(tick), y2: y(tick) }),
      s("text", { class: "tick", x: MARGIN.left - 6, y: y(tick) + 4, "text-anchor": "end" }, f.rate(tick)),
      s("text", { class: "tick", x: x(tick), y: height - MARGIN.bottom + 16, "text-anchor": "middle" }, f.rate(tick)),
    ]),
    s("text", { class: "tick", x: x(1), y: height - 6, "text-anchor": "end" }, "recall →"),
    s("text", { class: "tick", x: MARGIN.left, y: 12 }, "↑ precision"),
    s("path", { class: "band precision", d: band }),
    s("path", { class: "line curve", d: `M${cuts.map((i) => place(i, "precision")).join("L")}` }),
    inForce === null ? null : square(inForce),
    s("circle", { class: "chosen", r: 8, cx: x(curve.recall[here]), cy: y(curve.precision[here]) }));
  svg.addEventListener("pointerdown", (event) => {
    box.setPointerCapture?.(event.pointerId);
    drag(event);
    event.preventDefault();
  });
  box.replaceChildren(svg);
  box.toCut = (event) => {
    const frame = svg.getBoundingClientRect();
    const distance = (i) => (x(curve.recall[i]) - (event.clientX - frame.left)) ** 2 + (y(curve.precision[i]) - (event.clientY - frame.top)) ** 2;
    return cuts.reduce((best, i) => (distance(i) < distance(best) ? i : best), 0);
  };
};

const drag = (event) => {
  wanted = curve.threshold[at("curve").toCut(event)];
  show();
};

const show = () => {
  const i = chosen();
  const input = slider();
  input.max = curve.threshold.length - 1;
  input.value = i;
  input.setAttribute("aria-valuetext", `threshold ${f.score(curve.threshold[i])}: precision ${f.rate(curve.precision[i])}, recall ${f.rate(curve.recall[i])}`);
  say(at("cut-value"), `${f.score(curve.threshold[i])}${wanted === null && inForce !== null ? " (in force)" : ""}`);
  at("cut-reset").disabled = wanted === null;
  draw();
  compare();
};

export const showTradeoff = (data) => {
  const labelled = data.curve.threshold.length > 0 && data.quality.frauds > 0;
  slider().disabled = !labelled;
  say(at("tradeoff-basis"), labelled ? `Of ${f.many(data.matured, "matured window")}: ${f.many(data.quality.frauds, "labelled fraud")}. Drag along the curve.` : "");
  if (!labelled) {
    curve = null;
    at("curve").replaceChildren(h("p", { class: "empty" }, "No labelled fraud in this range yet."));
    at("comparison").replaceChildren();
    return;
  }
  curve = data.curve;
  inForce = data.in_force;
  show();
};

export const wireTradeoff = () => {
  slider().addEventListener("input", () => {
    wanted = curve.threshold[Number(slider().value)];
    show();
  });
  at("cut-reset").addEventListener("click", () => {
    wanted = null;
    show();
    slider().focus();
  });
  at("alarm-cost").addEventListener("input", () => curve && compare());
  at("curve").addEventListener("pointermove", (event) => {
    if (curve && event.buttons) drag(event);
  });
};
