/* Keeps a page current: a change on the server (server-sent events), or a timer while something runs, makes the
   page fetch itself and morph its main part into the new one, so that focus, scroll and open parts stay. */
"use strict";
(() => {
  const main = () => document.querySelector("main[data-live]");
  const away = document.getElementById("away");
  const SETTLE_MS = 150; // changes come in bursts
  const REST_MS = 1000; // between two refreshes, however much changes
  let asked = 0, busy = false, again = false, timer = 0, ended = 0;

  async function refresh() {
    asked = 0;
    if (busy) { again = true; return; }
    if (document.hidden || !main()) { return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); return; }
      if (answer.ok) { show(await answer.text()); }
      tell(true);
    } catch {
      tell(false);
    } finally {
      busy = false;
      ended = Date.now();
      schedule();
      if (again) { again = false; soon(); }
    }
  }

  function show(text) {
    const next = new DOMParser().parseFromString(text, "text/html");
    const fresh = next.querySelector("main");
    if (!fresh || !main()) { return; }
    document.title = next.title;
    Idiomorph.morph(main(), fresh, {
      ignoreActiveValue: true,
      callbacks: {
        beforeNodeMorphed: (old) => !(old.nodeType === 1 && old.hasAttribute("data-keep")),
        // What the reader opened, chose or typed is the reader's.
        beforeAttributeUpdated: (name, node) => !["open", "checked", "value"].includes(name) || node.tagName === "PROGRESS",
      },
    });
    times();
    document.dispatchEvent(new Event("stoker:refreshed"));
  }

  function soon() {
    if (!asked) { asked = setTimeout(refresh, Math.max(SETTLE_MS, ended + REST_MS - Date.now())); }
  }
  function schedule() {
    clearTimeout(timer);
    const every = Number(main()?.dataset.poll || 0);
    if (every) { timer = setTimeout(refresh, every * 1000); }
  }
  function tell(here) { if (away) { away.hidden = here; } }

  function listen() {
    const source = new EventSource(`/api/v1/changes?since=${main().dataset.changed}`);
    source.addEventListener("change", soon);
    source.onopen = () => { if (away && !away.hidden) { soon(); } tell(true); };
    addEventListener("pagehide", () => source.close());
  }

  /* Times in the reader's zone, and running clocks as squeue prints them. */
  function times() {
    const style = { dateStyle: "medium", timeStyle: "short" };
    const format = new Intl.DateTimeFormat(document.documentElement.lang, style);
    for (const time of document.querySelectorAll("time[data-at]")) {
      time.textContent = format.format(new Date(time.dataset.at * 1000));
    }
    for (const time of document.querySelectorAll("time[data-title-at]")) {
      time.title = format.format(new Date(time.dataset.titleAt * 1000));
    }
    tick();
  }
  const two = (number) => String(number).padStart(2, "0");
  function clock(seconds) {
    const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24;
    const minutes = Math.floor(seconds / 60) % 60, rest = two(Math.floor(seconds) % 60);
    if (days) { return `${days}-${two(hours)}:${two(minutes)}:${rest}`; }
    return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
  }
  function tick() {
    for (const span of document.querySelectorAll("[data-since]")) {
      span.textContent = clock(Math.max(0, Date.now() / 1000 - Number(span.dataset.since)));
    }
  }

  times();
  setInterval(tick, 1000);
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) { event.target.form.requestSubmit(); }
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { soon(); } });
  if (main()) { listen(); schedule(); }
})();
