// One alert, opened: why, by whom, what its accounts did, and what an analyst says of it.

import { h } from "./dom.js";
import * as f from "./format.js";
import { whisker } from "./quality.js";
import { tokenForm } from "./token.js";

const fact = (name, value, note) => h("div", {}, h("dt", {}, name), h("dd", {}, value, note && h("span", { class: "note" }, note)));

const reasons = (alert) => {
  const most = Math.max(...alert.reasons.map((reason) => Math.abs(reason.effect)), 1e-9);
  return h("ol", { class: "why-list" }, alert.reasons.map((reason) => h("li", {},
    h("span", { class: "words" }, reason.words),
    h("progress", { max: most, value: Math.abs(reason.effect), "aria-hidden": "true" }),
    h("span", { class: "note" }, `${reason.effect >= 0 ? "+" : "−"}${Math.abs(reason.effect).toFixed(1)} log-odds; ${reason.feature} is ${f.score(reason.value)}, usually ${f.score(reason.habit)}`))));
};

const members = (alert) =>
  h("table", { class: "figures members" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Member"), h("th", { scope: "col" }, "Probability of fraud"), h("th", { scope: "col" }, "Share of the vote"))),
    h("tbody", {}, alert.members.map((member) => h("tr", {}, h("th", { scope: "row" }, member.name),
      h("td", { class: "measured" }, h("div", {}, h("span", { class: "value" }, f.score(member.score)), whisker(member.score, null, "precision"))),
      h("td", {}, f.percent(member.weight))))));

const said = (each) => (each.is_fraud === null ? "no label yet" : each.is_fraud ? "fraud" : "legitimate");

const activity = (alert) =>
  h("div", { class: "scroll high", tabindex: "0", role: "region", "aria-label": "What its accounts did before" },
    h("table", { class: "figures" },
      h("thead", {}, h("tr", {}, ["Before", "Type", "Amount", "From", "To", "Score", "Then"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, alert.activity.map((each) => h("tr", {},
        h("th", { scope: "row" }, f.duration(alert.timestamp - each.timestamp)),
        h("td", {}, each.type), h("td", {}, f.amount(each.amount)),
        ["nameOrig", "nameDest"].map((side) => h("td", { class: [alert.nameOrig, alert.nameDest].includes(each[side]) ? "same" : "" }, each[side])),
        h("td", {}, f.score(each.score)),
        h("td", {}, `${each.alerted ? "flagged, " : ""}${said(each)}`))))));

const marking = (alert, options) => {
  const told = h("p", { id: "mark-told", role: "status", class: "note" },
    alert.mark ? `Marked ${alert.mark.is_fraud ? "fraud" : "legitimate"} at ${f.clock(alert.mark.marked_at)} UTC. A second mark corrects the first.` : "");
  if (!options.mayWrite) {
    return h("div", { class: "marking" }, h("p", { class: "note" }, "To mark alerts, open the link with #token= that the dashboard printed when it started, or give the token here."), tokenForm("mark-token", options.giveToken), told);
  }
  const button = (isFraud, id, words) => h("button", {
    type: "button", id, class: isFraud ? "fraud" : "legitimate", "aria-pressed": String(alert.mark?.is_fraud === isFraud), onclick: () => options.mark(isFraud),
  }, words);
  return h("div", { class: "marking" }, h("p", { class: "what" }, "What was it?"), button(true, "mark-fraud", "✕ Fraud"), button(false, "mark-legitimate", "✓ Legitimate"), told);
};

/** Draw an alert into the panel. options: {mayWrite, giveToken, mark, close, moveBy}. */
export const drawAlert = (panel, alert, options) => {
  const focused = panel.contains(document.activeElement) ? document.activeElement.id : "";
  panel.replaceChildren(
    h("header", { class: "head" },
      h("h2", { id: "alert-title" }, `${alert.type} of ${f.exactly(alert.amount)}`),
      h("span", { class: "row" },
        h("button", { type: "button", id: "alert-back", title: "The one above (k)", onclick: () => options.moveBy(-1) }, "↑", h("span", { class: "hidden" }, " The alert above")),
        h("button", { type: "button", id: "alert-on", title: "The one below (j)", onclick: () => options.moveBy(1) }, "↓", h("span", { class: "hidden" }, " The alert below")),
        h("button", { type: "button", id: "alert-close", class: "close", onclick: options.close }, "Close"))),
    marking(alert, options),
    h("dl", { class: "facts" },
      fact("Score", f.score(alert.score), ` flagged from ${f.score(alert.threshold)} on`),
      fact("Event time", `${f.moment(alert.timestamp)} UTC`),
      fact("From", alert.nameOrig), fact("To", alert.nameDest),
      fact("Transaction", alert.transaction_id),
      fact("Model version", f.whole(alert.model_position), " is its position in the training log"),
      fact("Decided", `${f.moment(alert.decided_at)} UTC`, " by the clock")),
    h("h3", {}, "Why"),
    alert.reasons.length ? reasons(alert) : h("p", { class: "empty" }, "No reasons: the model knew too little of what is usual."),
    h("h3", {}, "Members then"),
    alert.members.length ? members(alert) : h("p", { class: "empty" }, "The alert does not tell its members."),
    h("h3", {}, "What its accounts did before"),
    alert.activity.length ? activity(alert) : h("p", { class: "empty" }, "Nothing is known of its accounts before."));
  (document.getElementById(focused) || panel.querySelector("#mark-fraud") || panel.querySelector(".close")).focus();
};
