// Elements. Text is always set as text: what comes from the stream is never taken for markup.

const SVG = "http://www.w3.org/2000/svg";

/** Children that are there: what is null, undefined or false is left out. */
const there = (children) => children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...there(children));
  return element;
};

/** An HTML element with attributes and children. */
export const h = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

/** An SVG element with attributes and children. */
export const s = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

/** Put these children in place of those that are there. */
export const replace = (element, ...children) => element.replaceChildren(...there(children));

export const at = (id) => document.getElementById(id);

/** Put text into an element where it differs: screen readers speak of changes. */
export const say = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

/** Bring the children of `list` to those of `items`, by key, and keep the elements that stay. */
export const keyed = (list, items, key, make, update) => {
  const there = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let before = list.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = there.get(name);
    there.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === before) before = before.nextElementSibling;
    else list.insertBefore(child, before);
  }
  for (const child of there.values()) child.remove();
};
