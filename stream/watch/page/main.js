// The page put together: what comes from the server goes to the parts that show it.

import { allowMarking, followAddress, showAlerts, wireAlerts } from "./alerts.js";
import { showChallengers } from "./challengers.js";
import { age, eventsOf, follow } from "./connection.js";
import { at, h, say } from "./dom.js";
import { duration } from "./format.js";
import { showAlarms, showCounts, showHealth, showNotice, showVerdict } from "./health.js";
import { wireKeys } from "./keys.js";
import { showBalance, showModel, showShares, showThreshold } from "./model.js";
import { chooseCourse, showCourse, showQuality } from "./quality.js";
import { openSession, refusal, takeToken } from "./session.js";
import { showSegments, showWindows } from "./tables.js";
import { tokenForm } from "./token.js";
import { showTradeoff, wireTradeoff } from "./tradeoff.js";

const RANGE = "weir-range";
const AGAIN_MS = 5000;
const shown = {};
let range = sessionStorage.getItem(RANGE) || "newest";
let following = null; // what `follow` returned
let again = 0; // the timer of the next attempt
let turn = 0; // counts attempts: what an older one still waits for is void

const draw = () => {
  const { now, windows } = shown;
  if (now) {
    showHealth(now, windows ? windows.recent.label_coverage : null);
    showAlarms(now.alarms);
    showModel(now.model, now.threshold_changes);
    showCounts(now);
    showRanges(now.ranges);
  }
  if (now && windows) showShares(now.model, windows.recent, windows.quality);
};

const drawWindows = () => {
  const { now, windows } = shown;
  if (!windows) return;
  const confidence = now ? now.confidence : 0.9;
  showQuality(windows, confidence);
  showCourse(windows);
  showTradeoff(windows);
  showThreshold(windows.points);
  showBalance(windows.points);
  showSegments(windows.segments, confidence);
  showWindows(windows.points);
};

const onPart = (part, values) => {
  shown[part] = values;
  if (part === "alerts") showAlerts(values.alerts);
  if (part === "challengers") showChallengers(values.challengers);
  if (part === "windows") drawWindows();
  draw();
  document.body.dataset.shown = Object.keys(shown).sort().join(" ");
};

const showAge = () => {
  const seconds = age();
  const old = seconds > 3;
  say(at("age"), seconds === null ? "" : old ? `figures are ${duration(seconds)} old` : "live");
  at("age").className = old ? "old" : "";
  if (following && !following.well()) showLost("The dashboard does not answer.");
};

const showLost = (sentence) => {
  showVerdict("bad", "no connection");
  showNotice(age() === null ? [sentence] : [sentence, "Shown is what came last."]);
};

const stop = () => {
  turn += 1;
  clearTimeout(again);
  following?.letGo();
  following = null;
};

const start = () => {
  stop();
  if (document.hidden) return;
  following = follow(range, onPart, refused);
};

const tryLater = (sentence) => {
  showLost(sentence);
  again = setTimeout(enter, AGAIN_MS);
};

const refused = async () => {
  stop();
  const mine = turn;
  const sentence = await refusal(eventsOf(range));
  if (mine === turn) tryLater(sentence || "The dashboard refused this page for a moment.");
};

/** Ask what this browser may do, and show it: at the start, after a refusal, when seen again. */
const enter = async () => {
  stop();
  const mine = turn;
  try {
    const session = await openSession();
    if (mine === turn) showSession(session);
  } catch (error) {
    if (mine === turn) tryLater(error.message);
  }
};

const showSession = (session) => {
  at("token-place").hidden = session.may_read;
  allowMarking(session.may_write);
  if (!session.may_read) {
    stop();
    showVerdict("unknown", "a token is needed");
    showNotice(["Open the link with #token= that the dashboard printed when it started, or give the token here."]);
    return;
  }
  showNotice([]);
  start();
  followAddress();
};

/** Take a token that was typed; return what is wrong with it. */
const giveToken = async (token) => {
  try {
    const session = await takeToken(token);
    if (!session.may_write) return "This is not the token of this dashboard.";
    showSession(session);
    return "";
  } catch (error) {
    return error.message;
  }
};

const setRange = (name) => {
  range = name;
  sessionStorage.setItem(RANGE, name);
  delete shown.windows;
  if (shown.now) showRanges(shown.now.ranges);
  start();
};

const showRanges = (ranges) => {
  const box = at("ranges");
  if (box.querySelectorAll("input").length !== ranges.length) {
    for (const each of ranges) {
      const input = h("input", { type: "radio", name: "range", value: each.name, checked: each.name === range });
      input.addEventListener("change", () => setRange(each.name));
      box.append(h("label", { title: each.words }, input, h("span", {}, each.name)));
    }
  }
  for (const each of ranges) {
    const input = box.querySelector(`input[value="${each.name}"]`);
    input.disabled = !each.enough && each.name !== range; // shorter than a window
    input.parentElement.hidden = input.disabled;
    input.checked = each.name === range;
  }
};

const stepRange = (step) => {
  const enabled = [...at("ranges").querySelectorAll("input:not(:disabled)")];
  const to = enabled[enabled.findIndex((input) => input.checked) + step];
  if (to) setRange(to.value);
};

const theme = () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("weir-theme", root.dataset.theme);
  nameTheme();
};
const nameTheme = () => say(at("theme"), document.documentElement.dataset.theme === "dark" ? "Light" : "Dark");

const begin = () => {
  nameTheme();
  at("theme").addEventListener("click", theme);
  chooseCourse();
  wireTradeoff();
  wireKeys({ theme, range: stepRange });
  let waiting = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(drawWindows);
  });
  at("token-place").append(tokenForm("token", giveToken));
  wireAlerts(giveToken);
  // A page that nobody sees lets its connection go: browsers have six for a host over HTTP/1.1.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : enter()));
  setInterval(showAge, 1000);
  if (!document.hidden) enter();
};

// A link with another token, followed in the same tab.
window.addEventListener("hashchange", () => {
  if (location.hash.includes("token=")) location.reload();
});

begin();
