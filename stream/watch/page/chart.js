// Line charts in SVG, drawn at the size they have on the page.

import { h, s } from "./dom.js";
import { day } from "./format.js";

const MARGIN = { left: 46, right: 12, top: 10, bottom: 24 };

/** Where the pointer is on which chart. */
const pointers = {};

const linear = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);
const logarithmic = (low, high, from, to) => {
  const scale = linear(Math.log10(low), Math.log10(high), from, to);
  return (value) => scale(Math.log10(Math.max(value, low)));
};

const decades = (low, high) => {
  const ticks = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power += 1) ticks.push(10 ** power);
  return ticks;
};

/** The path through points; a gap where a value is not known. `step`: it holds until the next. */
const path = (points, x, y, step) => {
  let text = "";
  let down = false;
  for (const [time, value] of points) {
    if (value === null || value === undefined) {
      down = false;
    } else {
      const [px, py] = [x(time).toFixed(1), y(value).toFixed(1)];
      text += down ? (step ? `H${px}V${py}` : `L${px} ${py}`) : `M${px} ${py}`;
      down = true;
    }
  }
  return text;
};

/** The area between lows and highs, in pieces where either is not known. */
const area = (band, x, y) => {
  const pieces = [];
  let piece = [];
  for (const point of [...band, null]) {
    if (point && point[1]) piece.push(point);
    else {
      if (piece.length > 1) pieces.push(piece);
      piece = [];
    }
  }
  return pieces.map((points) => {
    const there = points.map(([time, [, high]]) => `${x(time).toFixed(1)} ${y(high).toFixed(1)}`);
    const back = points.map(([time, [low]]) => `${x(time).toFixed(1)} ${y(low).toFixed(1)}`).reverse();
    return `M${[...there, ...back].join("L")}Z`;
  }).join("");
};

/**
 * Draw series over time into a box.
 *
 * series: [{name, kind, points: [[seconds, value]], band: [[seconds, [low, high]]]}], where kind is a
 * class of the style sheet that gives colour and dashes. A second set of the same kind (of a
 * challenger, say) is further series. options: {domain, log, step, format, label}.
 */
export const lineChart = (box, series, options) => {
  const width = Math.max(box.clientWidth, 240);
  const times = series.flatMap((each) => each.points.map(([time]) => time));
  const shown = series.filter((each) => each.points.some(([, value]) => value !== null && value !== undefined));
  if (!times.length || !shown.length) {
    box.replaceChildren(h("p", { class: "empty" }, options.empty || "No figures yet."));
    return;
  }
  const newest = (each) => each.points.reduce((found, [, value], i) => (value === null || value === undefined ? found : i), 0);
  const told = h("p", { class: "readout" });
  const values = (of) => shown.map((each) => h("span", { class: `key ${each.kind}` }, `${each.name} ${options.format(each.points[of(each)]?.[1])}`));
  told.append(...values(newest));
  box.replaceChildren(told);
  const height = Math.max(box.clientHeight - told.offsetHeight, 100); // the legend may take two lines
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const x = linear(first, last, MARGIN.left, width - MARGIN.right);
  const y = (options.log ? logarithmic : linear)(...options.domain, height - MARGIN.bottom, MARGIN.top);
  const ticks = options.ticks || (options.log ? decades(...options.domain) : [0, 0.25, 0.5, 0.75, 1]);
  const grid = ticks.flatMap((tick) => [
    s("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
    s("text", { class: "tick", x: MARGIN.left - 6, y: y(tick) + 4, "text-anchor": "end" }, options.format(tick)),
  ]);
  const count = Math.max(2, Math.min(6, Math.floor(width / 130)));
  const dates = last > first ? Array.from({ length: count }, (_, i) => first + ((last - first) * i) / (count - 1)) : [first];
  const axis = dates.map((time, i) => s("text", {
    class: "tick", x: x(time), y: height - 6,
    "text-anchor": i === 0 ? "start" : i === dates.length - 1 ? "end" : "middle",
  }, day(time)));
  const lines = shown.flatMap((each) => [
    each.band && s("path", { class: `band ${each.kind}`, d: area(each.band, x, y) }),
    s("path", { class: `line ${each.kind}`, d: path(each.points, x, y, options.step) }),
    each.points.length === 1 && s("circle", { class: `dot ${each.kind}`, r: 3, cx: x(each.points[0][0]), cy: y(each.points[0][1]) }),
  ]);
  const hair = s("line", { class: "hair", y1: MARGIN.top, y2: height - MARGIN.bottom, visibility: "hidden" });
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.label }, grid, axis, lines, hair);
  const tell = (index) => told.replaceChildren(...values(() => index), h("span", { class: "when" }, day(series[0].points[index][0])));
  const rest = () => {
    hair.setAttribute("visibility", "hidden");
    told.replaceChildren(...values(newest));
  };
  const move = (clientX) => {
    const here = clientX - svg.getBoundingClientRect().left;
    const points = series[0].points;
    const index = points.reduce((best, [time], i) => (Math.abs(x(time) - here) < Math.abs(x(points[best][0]) - here) ? i : best), 0);
    hair.setAttribute("x1", x(points[index][0]));
    hair.setAttribute("x2", x(points[index][0]));
    hair.setAttribute("visibility", "visible");
    tell(index);
  };
  svg.addEventListener("pointermove", (event) => move((pointers[box.id] = event.clientX)));
  svg.addEventListener("pointerleave", () => {
    delete pointers[box.id];
    rest();
  });
  box.append(svg);
  if (pointers[box.id] !== undefined) move(pointers[box.id]); // drawn anew under it
};

export { linear };
