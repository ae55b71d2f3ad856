// The token: from the link behind "#token=" or typed; it stays in this tab and leaves the address bar.

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

const sentence = (answer, said) => said.error || `The dashboard answered ${answer.status}.`;

/** What the server answers, as JSON. Throws an error with its sentence and status. */
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
  if (!answer.ok) throw Object.assign(new Error(sentence(answer, said)), { status: answer.status });
  return said;
};

/** Take the token from the address, and return what this browser may do. Throws as `ask`. */
export const openSession = async () => {
  fromAddress();
  const may = await ask("/api/session");
  if (may.may_write) await ask("/api/session", {}); // a cookie to read with
  else sessionStorage.removeItem(NAME); // of a dashboard that has been started again since
  return may;
};

/** Take a token that was typed. Returns what this browser may do with it. Throws as `ask`. */
export const takeToken = async (token) => {
  if (!/^[!-~]+$/.test(token)) return { may_read: false, may_write: false }; // no header can carry it
  sessionStorage.setItem(NAME, token);
  return openSession();
};

/** Why events are refused, as a sentence; null where they are not. They do not tell it themselves. */
export const refusal = async (path) => {
  const enough = new AbortController();
  try {
    const answer = await fetch(path, { signal: enough.signal });
    return answer.ok ? null : sentence(answer, await answer.json().catch(() => ({})));
  } catch {
    return "The dashboard does not answer.";
  } finally {
    enough.abort(); // where they are not refused they have no end
  }
};
