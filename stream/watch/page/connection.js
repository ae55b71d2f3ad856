// What the server sends, as it comes, and how old what is shown is.

const SILENT_MS = 6000;

let heard = null; // over all attempts: what is shown gets older while they fail

/** Seconds since anything came; null before anything did. */
export const age = () => (heard === null ? null : (Date.now() - heard) / 1000);

/** Where the events of a range are. */
export const eventsOf = (range) => `/events?range=${encodeURIComponent(range)}`;

/**
 * Follow the events of a range. Returns {well, letGo}: whether they come, and how to end it.
 *
 * onRefused: the server said no (too many pages, a token that is no longer one). Browsers do not try
 * again then; where the connection is lost they do.
 */
export const follow = (range, onPart, onRefused) => {
  const source = new EventSource(eventsOf(range));
  const since = Date.now();
  for (const part of ["now", "windows", "alerts", "challengers"]) {
    source.addEventListener(part, (event) => {
      heard = Date.now();
      onPart(part, JSON.parse(event.data));
    });
  }
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) onRefused();
  });
  const well = () => {
    const quiet = Date.now() - Math.max(since, heard ?? 0);
    return quiet < SILENT_MS && (source.readyState === EventSource.OPEN || quiet < SILENT_MS / 2);
  };
  return { well, letGo: () => source.close() };
};
