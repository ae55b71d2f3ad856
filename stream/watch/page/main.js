// The page put together: what comes from the server goes to the parts that show it.

import { showAlerts, wireAlerts } from "./alerts.js";
import { showChallengers } from "./challengers.js";
import { follow } from "./connection.js";
import { at, h, say } from "./dom.js";
import { duration } from "./format.js";
import { showAlarms, showCounts, showHealth, showNotice, showVerdict } from "./health.js";
import { wireKeys } from "./keys.js";
import { showBalance, showModel, showShares, showThreshold } from "./model.js";
import { chooseCourse, showCourse, showQuality } from "./quality.js";
import { openSession } from "./session.js";
import { showSegments, showWindows } from "./tables.js";
import { showTradeoff, wireTradeoff } from "./tradeoff.js";

const RANGE = "weir-range";
const shown = {};
let range = sessionStorage.getItem(RANGE) || "newest";
let letGo = () => {};

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

const onState = (well, age) => {
  if (well === null) start();
  const old = age > 3;
  say(at("age"), old ? `figures are ${duration(age)} old` : "live");
  at("age").className = old ? "old" : "";
  if (well === false && old) {
    showVerdict("bad", "no connection");
    showNotice(["The dashboard does not answer. Shown is what came last."]);
  }
};

const start = () => {
  letGo();
  letGo = follow(range, onPart, onState);
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

const begin = async () => {
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
  const session = await openSession().catch(() => ({ may_read: true, may_write: false }));
  wireAlerts(session);
  if (!session.may_read) {
    showVerdict("unknown", "a token is needed");
    showNotice(["Open the link with #token= that the dashboard printed when it started."]);
    return;
  }
  start();
};

// A link with another token, followed in the same tab.
window.addEventListener("hashchange", () => {
  if (location.hash.includes("token=")) location.reload();
});

begin();
