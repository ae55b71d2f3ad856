// What other settings would have done: each challenger beside the one in force.

import { at, h } from "./dom.js";
import * as f from "./format.js";

const between = (figure, name) => {
  const [low, high] = [figure[`${name}_lower`], figure[`${name}_upper`]];
  return low === null || low === undefined ? null : h("span", { class: "note" }, ` ${f.interval([low, high])}`);
};

const rated = (name) => (figure) => [f.rate(figure[name]), between(figure, name)];

const COLUMNS = [
  ["Alerts", (m) => f.whole(m.alerts)],
  ["Precision", rated("precision")],
  ["Recall", rated("recall")],
  ["Average precision", (m) => f.rate(m.average_precision)],
  ["Calibration", (m) => f.rate(m.calibration)],
  ["Caught", (m) => f.amount(m.amount_caught)],
  ["Missed", (m) => f.amount(m.amount_missed)],
  ["False", (m) => f.amount(m.amount_false)],
  ["Cost", (m) => f.amount(m.cost)],
];

const row = (words, measures) =>
  h("tr", {}, h("th", { scope: "row" }, words), COLUMNS.map(([, of]) => h("td", {}, of(measures))));

const table = (each) => {
  const own = Object.entries(each.settings).map(([name, value]) => `${name} ${value}`).join(", ");
  const state = each.done ? "" : ", still running";
  return h("div", { class: "challenger" },
    h("table", { class: "figures" },
      h("caption", {}, each.name,
        h("span", { class: "note" }, ` ${own || "the settings in force"} · ${f.moment(each.from)} to ${f.moment(each.until)} · ${f.whole(each.challenger.transactions)} transactions, ${f.whole(each.challenger.labelled)} labelled${state}`)),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Decided by"), COLUMNS.map(([name]) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, row("in force", each.in_force), row(each.name, each.challenger))),
    h("ul", { class: "said" }, each.said.map((line) => h("li", {}, line))));
};

export const showChallengers = (challengers) => {
  at("what-if").hidden = challengers.length === 0;
  at("challengers").replaceChildren(...challengers.map(table));
};
