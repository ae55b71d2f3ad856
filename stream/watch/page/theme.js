// Dark or light, before the first paint: what was chosen here last, else what the system has.
(() => {
  const root = document.documentElement;
  const chosen = localStorage.getItem("weir-theme");
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "dark" : "light";
})();
