// A field for the token, so that one of the settings never has to stand in a link.

import { h, say } from "./dom.js";

/** A form that asks for the token. give: takes one, returns what is wrong with it or "". */
export const tokenForm = (id, give) => {
  const input = h("input", { type: "password", id, autocomplete: "off", spellcheck: "false", required: true });
  const told = h("span", { class: "note", role: "status" });
  const use = async (event) => {
    event.preventDefault();
    const token = input.value.trim();
    input.value = "";
    say(told, await give(token));
  };
  return h("form", { class: "token", onsubmit: use }, h("label", { for: id }, "Token"), input, h("button", { type: "submit" }, "Use it"), told);
};
