// The threshold and the class balance: what they are, how they went, and why.

import { lineChart } from "./chart.js";
import { at, h, keyed, say } from "./dom.js";
import * as f from "./format.js";

const positive = (value) => (value > 0 ? value : null);

const bar = (name, share, text, kind) =>
  h("div", { class: "bar" },
    h("span", { class: "name" }, name),
    h("progress", { class: kind, max: 1, value: share, "aria-label": `${name}: ${text}` }),
    h("span", { class: "value" }, text));

export const showModel = (model, changes) => {
  say(at("threshold-now"), model ? f.score(model.threshold) : f.UNKNOWN);
  say(at("threshold-why"), model ? model.reason : "No worker has reported.");
  keyed(at("threshold-changes"), [...changes].reverse().slice(0, 5), (change) => `${change.at} ${change.threshold}`, (change) =>
    h("li", {}, h("span", { class: "when" }, f.day(change.at)), h("span", { class: "value" }, f.score(change.threshold)), h("span", {}, change.reason)), () => {});
  say(at("prior-now"), model ? f.percent(model.fraud_prior) : f.UNKNOWN);
  say(at("prior-why"), model ? `fraud prior: ${model.one_in}, imbalance ${model.severity}` : "");
  const members = model ? Object.entries(model.weights).sort((a, b) => b[1] - a[1]) : [];
  at("members-title").hidden = !members.length;
  at("members").replaceChildren(...members.map(([name, weight]) => bar(name, weight, f.percent(weight), "member")));
};

export const showShares = (model, recent, quality) => {
  if (!model) return;
  const flagged = recent.predicted_positive_rate;
  const ratio = flagged > 0 && model.fraud_prior > 0 ? flagged / model.fraud_prior : null;
  at("shares").replaceChildren(
    bar("in the stream", model.fraud_prior, `${f.percent(model.fraud_prior)} fraud`, "prior"),
    bar("learned lately", model.learned_share, `${f.percent(model.learned_share)} fraud`, "learned"),
    bar("flagged", flagged || 0, f.percent(flagged), "flagged"),
    h("p", { class: "basis" },
      `Flagged is ${ratio === null ? f.UNKNOWN : `${ratio.toFixed(ratio < 10 ? 1 : 0)} times`} the prior. `,
      `One in ${f.whole(1 / Math.max(model.sampling_rate, 1e-6))} legitimate transactions becomes an example`,
      quality.fraud_rate === null ? "." : `; ${f.percent(quality.fraud_rate)} of labelled ones were fraud.`),
  );
};

const decade = (value, down) => 10 ** (down ? Math.floor(Math.log10(value)) : Math.ceil(Math.log10(value)));

const logarithmic = (box, names, points, options) => {
  const series = names.map(([name, words, kind]) => ({ name: words, kind, points: points.map((point) => [point.start, positive(point[name])]) }));
  const values = series.flatMap((each) => each.points.map(([, value]) => value)).filter((value) => value !== null);
  const low = values.length ? Math.max(decade(Math.min(...values) * 0.999, true), 1e-6) : 0.001;
  lineChart(box, series, { ...options, log: true, domain: [low, Math.max(decade(Math.max(...values, low * 10), false), low * 10)] });
};

export const showThreshold = (points) =>
  logarithmic(at("threshold"), [["threshold", "in force", "threshold"]], points, {
    step: true, format: f.score, label: "The threshold in force at the end of each window, on a logarithmic axis.",
  });

export const showBalance = (points) =>
  logarithmic(at("balance"), [
    ["fraud_prior", "prior", "prior"],
    ["predicted_positive_rate", "flagged", "flagged"],
    ["learned_share", "learned", "learned"],
  ], points, {
    format: f.percent, label: "Fraud prior, share of transactions flagged and share of fraud in what is learned, window by window, on a logarithmic axis.",
  });
