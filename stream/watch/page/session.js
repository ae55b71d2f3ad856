// The token: it comes in the link behind "#token=", stays in this tab, and leaves the address bar.

const NAME = "weir-token";

const fromAddress = () => {
  const given = new URLSearchParams(location.hash.slice(1));
  const token = given.get("token");
  if (!token) return;
  sessionStorage.setItem(NAME, token);
  given.delete("token");
  const rest = given.toString();
  history.replaceState(null, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
};

const headers = () => {
  const token = sessionStorage.getItem(NAME);
  return token ? { Authorization: `Bearer ${token}` } : {};
};

/** Take the token from the address, and return what this browser may do. */
export const openSession = async () => {
  fromAddress();
  const may = await (await fetch("/api/session", { headers: headers() })).json();
  if (may.may_write) await fetch("/api/session", { method: "POST", headers: headers() }); // a cookie to read with
  else sessionStorage.removeItem(NAME); // of a dashboard that has been started again since
  return may;
};

/** What the server answers, as JSON. Throws an error with its sentence. */
export const ask = async (path, body) => {
  const options = { headers: headers() };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The dashboard does not answer.");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error || `The dashboard answered ${answer.status}.`);
  return said;
};
