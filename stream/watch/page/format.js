// Figures as people read them, all in one place. What is not known is "–".

export const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const grouped = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3 });

/** A rate between 0 and 1, two decimals. */
export const rate = (value) => (known(value) ? value.toFixed(2) : UNKNOWN);

/** An interval of rates. */
export const interval = (span) => (span ? `${rate(span[0])} to ${rate(span[1])}` : "");

export const whole = (value) => (known(value) ? grouped.format(value) : UNKNOWN);

/** A share as a percentage with two significant digits or more; never 100 % before it is. */
export const percent = (value) => {
  if (!known(value)) return UNKNOWN;
  const points = 100 * value;
  if (points === 0 || points === 100) return `${points} %`;
  if (points > 99) return `${Math.floor(points * 10) / 10} %`;
  const digits = points >= 10 ? 0 : Math.min(1 - Math.floor(Math.log10(Math.abs(points))), 6);
  return `${points.toFixed(digits)} %`;
};

/** An amount in at most six characters. */
export const amount = (value) => {
  if (!known(value)) return UNKNOWN;
  for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= limit * 0.9995) {
      const scaled = value / limit;
      const digits = Math.max(0, 3 - String(Math.trunc(Math.abs(scaled))).length);
      return `${scaled.toFixed(digits)}${unit}`;
    }
  }
  return Math.abs(value) >= 100 || value === 0 ? value.toFixed(0) : value.toFixed(2);
};

/** An amount to the cent. */
export const exactly = (value) =>
  known(value) ? value.toLocaleString("en-GB", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) : UNKNOWN;

/** A score or threshold: three significant digits, near 1 of what is missing to it. */
export const score = (value) => {
  if (!known(value)) return UNKNOWN;
  if (value < 0.1 || value >= 1) return short.format(value);
  if (value <= 0.99) return value.toFixed(3);
  return value.toFixed(Math.min(2 - Math.floor(Math.log10(1 - value)), 8));
};

export const milliseconds = (value) => {
  if (!known(value)) return UNKNOWN;
  return value >= 2000 ? `${(value / 1000).toFixed(1)} s` : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
};

/** A time span in its two largest units. */
export const duration = (seconds) => {
  if (!known(seconds)) return UNKNOWN;
  const total = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(total / 86400), "d"], [Math.floor(total / 3600) % 24, "h"], [Math.floor(total / 60) % 60, "min"], [total % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
};

const iso = (seconds) => new Date(seconds * 1000).toISOString();

/** A time in UTC: with the year, without it, or the time of day alone. */
export const moment = (seconds) => (known(seconds) ? iso(seconds).slice(0, 16).replace("T", " ") : UNKNOWN);
export const day = (seconds) => (known(seconds) ? iso(seconds).slice(5, 16).replace("T", " ") : UNKNOWN);
export const clock = (seconds) => (known(seconds) ? iso(seconds).slice(11, 19) : UNKNOWN);

/** A count and its noun. */
export const many = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;
