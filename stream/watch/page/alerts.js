// The newest alerts: a list to move through, and one of them opened.

import { at, h, keyed, replace, say } from "./dom.js";
import * as f from "./format.js";
import { ask } from "./session.js";
import { drawAlert } from "./alert.js";

let list = [];
let open = null;
let mayWrite = false;
let giveToken = null;

const verdict = (mark) => (mark ? (mark.is_fraud ? "✕ fraud" : "✓ legitimate") : "");

const link = (alert) => {
  const element = h("a", { href: `#alert=${encodeURIComponent(alert.alert_id)}` });
  return h("li", {}, element);
};

const fill = (item, alert) => {
  const element = item.firstElementChild;
  const text = JSON.stringify(alert);
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  replace(element,
    h("span", { class: "line" },
      h("strong", { class: "score" }, f.score(alert.score)),
      h("span", { class: "type" }, alert.type),
      h("span", { class: "amount" }, f.amount(alert.amount)),
      h("time", { datetime: new Date(alert.timestamp * 1000).toISOString() }, f.day(alert.timestamp))),
    h("span", { class: "line accounts" }, `${alert.nameOrig} → ${alert.nameDest}`),
    h("span", { class: "line reasons" }, alert.reasons.join(", ") || "no reasons: the model knew too little"),
    alert.mark && h("span", { class: `line marked ${alert.mark.is_fraud ? "fraud" : "legitimate"}` }, `marked ${verdict(alert.mark)}`));
};

export const showAlerts = (alerts) => {
  list = alerts;
  const box = at("alerts");
  keyed(box, alerts, (alert) => alert.alert_id, link, fill);
  if (!alerts.length) box.replaceChildren(h("li", { class: "empty" }, "None yet."));
};

/** Move the focus, or the opened alert, by so many. */
export const moveBy = (step) => {
  const links = [...at("alerts").querySelectorAll("a")];
  if (!links.length) return;
  const from = open ? list.findIndex((alert) => alert.alert_id === open) : links.indexOf(document.activeElement);
  const to = Math.min(Math.max(from + step, 0), links.length - 1);
  if (open) location.hash = new URL(links[to].href).hash;
  else links[to].focus();
};

const load = async (alertId) => {
  const panel = at("alert");
  try {
    const alert = await ask(`/api/alerts/${encodeURIComponent(alertId)}`);
    if (open === alertId) drawAlert(panel, alert, { mayWrite, giveToken, mark: (isFraud) => mark(alertId, isFraud), close, moveBy });
  } catch (error) {
    panel.replaceChildren(
      h("header", { class: "head" }, h("h2", { id: "alert-title" }, "Alert"), h("button", { type: "button", class: "close", onclick: close }, "Close")),
      h("p", { class: "notice" }, error.message));
  }
};

const mark = async (alertId, isFraud) => {
  const told = at("mark-told");
  say(told, "Sending the label …");
  try {
    await ask(`/api/alerts/${encodeURIComponent(alertId)}/label`, { is_fraud: isFraud });
    if (open !== alertId) return;
    await load(alertId);
    say(at("mark-told"), "Label sent. Figures follow as soon as the worker has it.");
    at(isFraud ? "mark-fraud" : "mark-legitimate")?.focus();
  } catch (error) {
    if (error.status === 401 && open === alertId) {
      mayWrite = false; // the dashboard has another token since
      await load(alertId);
    }
    say(at("mark-told") || told, error.message);
  }
};

export const close = () => {
  if (at("alert").open) at("alert").close();
};

/** Open the alert that the address names, or close what is open. */
export const followAddress = () => {
  const alertId = new URLSearchParams(location.hash.slice(1)).get("alert");
  if (!alertId) {
    close();
    return;
  }
  const panel = at("alert");
  if (open === alertId && panel.open) return;
  open = alertId;
  if (!panel.open) {
    panel.replaceChildren(h("h2", { id: "alert-title" }, "Alert"), h("p", {}, "Loading …"));
    panel.showModal();
  }
  load(alertId);
};

/** Whether this browser may mark. What is open is drawn anew where that changed. */
export const allowMarking = (allowed) => {
  if (allowed === mayWrite) return;
  mayWrite = allowed;
  if (open) load(open);
};

/** give: takes a token that was typed. */
export const wireAlerts = (give) => {
  giveToken = give;
  const panel = at("alert");
  panel.addEventListener("close", () => {
    const was = open;
    open = null;
    if (location.hash.includes("alert=")) history.replaceState(null, "", location.pathname + location.search);
    const back = [...at("alerts").children].find((item) => item.dataset.key === was);
    (back?.firstElementChild || at("alerts")).focus();
  });
  panel.addEventListener("click", (event) => {
    if (event.target === panel) close(); // beside it
  });
  window.addEventListener("hashchange", followAddress);
};
