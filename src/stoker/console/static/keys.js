/* Keyboard: g and a letter goes to a page, / searches, arrows walk the rows, ? shows all of it. */
"use strict";
(() => {
  const LEAD_MS = 1500; // how long "g" waits for its letter
  const help = document.getElementById("shortcuts");
  let led = 0;

  const typing = (target) => target.closest?.("input, select, textarea, [contenteditable]");

  function go(letter) {
    const link = document.querySelector(`a[data-key="${CSS.escape(letter)}"]`);
    if (link) { link.click(); }
    return Boolean(link);
  }

  function walk(by) {
    const links = [...document.querySelectorAll("main tr[data-row]")].map((row) => row.querySelector("a")).filter(Boolean);
    if (!links.length) { return false; }
    const here = links.indexOf(document.activeElement?.closest?.("tr[data-row]")?.querySelector("a"));
    if (here < 0 && document.activeElement !== document.body && document.activeElement?.id !== "main") { return false; }
    links[Math.min(links.length - 1, Math.max(0, here < 0 ? 0 : here + by))].focus();
    return true;
  }

  function on(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) { return false; }
    if (led && Date.now() - led < LEAD_MS) { led = 0; return go(event.key); }
    led = 0;
    switch (event.key) {
      case "g": led = Date.now(); return true;
      case "?": help?.showModal(); return Boolean(help);
      case "/": { const box = document.querySelector("[data-search]"); box?.focus(); return Boolean(box); }
      case "ArrowDown": return walk(1);
      case "ArrowUp": return walk(-1);
      default: return false;
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const open = event.target.closest?.("details.confirm[open]");
      if (open) { open.open = false; open.querySelector("summary").focus(); return; }
      if (typing(event.target)) { event.target.blur(); }
      return;
    }
    if (on(event)) { event.preventDefault(); }
  });
  for (const button of document.querySelectorAll("[data-opens]")) {
    button.hidden = false;
    button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
  }
  // One question at a time: opening a confirmation closes the others.
  document.addEventListener("toggle", (event) => {
    if (!event.target.matches?.("details.confirm") || !event.target.open) { return; }
    for (const other of document.querySelectorAll("details.confirm[open]")) {
      if (other !== event.target) { other.open = false; }
    }
  }, true);
})();
