// The keyboard. Keys are left alone where somebody types, and with Ctrl, Alt or Meta.

import { at } from "./dom.js";
import { moveBy } from "./alerts.js";

export const wireKeys = ({ theme, range }) => {
  const list = at("keys");
  const help = () => (list.open ? list.close() : list.showModal());
  list.querySelector("[data-close]").addEventListener("click", () => list.close());
  at("help").addEventListener("click", help);
  const press = (id) => at(id)?.focus();
  const actions = {
    j: () => moveBy(1),
    k: () => moveBy(-1),
    f: () => press("mark-fraud"),
    l: () => press("mark-legitimate"),
    c: () => !at("alert").open && press("cut"),
    t: theme,
    "[": () => range(-1),
    "]": () => range(1),
    "?": help,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (event.target.matches("input:not([type=range]):not([type=radio]), textarea, select")) return;
    const action = actions[event.key];
    if (!action) return;
    action();
    event.preventDefault();
  });
};
