// What the server sends, as it comes, and how old what is shown is.

const SILENT_MS = 6000;

/** Follow the events of a range. Returns a function that lets go. */
export const follow = (range, onPart, onState) => {
  const source = new EventSource(`/events?range=${encodeURIComponent(range)}`);
  let heard = Date.now();
  const state = () => onState(source.readyState === EventSource.OPEN && Date.now() - heard < SILENT_MS, (Date.now() - heard) / 1000);
  for (const part of ["now", "windows", "alerts", "challengers"]) {
    source.addEventListener(part, (event) => {
      heard = Date.now();
      onPart(part, JSON.parse(event.data));
    });
  }
  const timer = setInterval(state, 1000);
  // One that was refused (too many pages, a token that is no longer one) does not try by itself.
  let again = null;
  source.addEventListener("error", () => {
    state();
    if (source.readyState === EventSource.CLOSED && !again) again = setTimeout(() => onState(null, 0), 5000);
  });
  return () => {
    clearInterval(timer);
    clearTimeout(again);
    source.close();
  };
};
