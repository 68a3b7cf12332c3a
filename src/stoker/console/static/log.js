/* Follows a job's log: fetches from where it stopped, shows the tail, obeys carriage returns, drops colour codes. */
"use strict";
(() => {
  const MOST_CHARS = 400000; // kept on the page; the raw link has all of it
  const EVERY_MS = 1000;
  // eslint-disable-next-line no-control-regex
  const ESCAPES = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007]*(?:\u0007|\u001b\\)/g;
  const pre = document.getElementById("log");
  if (!pre) { return; }
  const follow = document.getElementById("follow");
  const decoder = new TextDecoder();
  let offset = null, text = "";

  async function read() {
    let final = false, more = false;
    try {
      const place = offset === null ? "" : `?offset=${offset}`; // the first time: the tail
      const answer = await fetch(pre.dataset.log + place, { cache: "no-store" });
      if (!answer.ok || answer.redirected) { throw new Error(String(answer.status)); }
      const bytes = await answer.arrayBuffer();
      const next = Number(answer.headers.get("x-next-offset"));
      final = answer.headers.get("x-final") === "1";
      more = bytes.byteLength > 0;
      const cut = offset === null && answer.headers.get("x-offset") !== "0";
      offset = next;
      const chunk = decoder.decode(bytes, { stream: true });
      // A tail begins within a line, which is left out.
      if (more) { show(cut ? `${pre.dataset.cut}\n${chunk.slice(chunk.indexOf("\n") + 1)}` : chunk); }
    } catch { /* the server is away: asked again below, and the page says so */ }
    if (!text) { pre.textContent = pre.dataset.empty; }
    if (more) { setTimeout(read, 0); } else if (!final) { setTimeout(read, document.hidden ? 5 * EVERY_MS : EVERY_MS); }
  }

  function show(chunk) {
    text = overwrite((text + chunk.replace(ESCAPES, "")).slice(-2 * MOST_CHARS)).slice(-MOST_CHARS);
    pre.textContent = text;
    if (follow.checked) { pre.scrollTop = pre.scrollHeight; }
  }

  /* A progress bar rewrites its line after a carriage return: only its last form is kept. */
  function overwrite(all) {
    return all.replace(/\r\n/g, "\n").replace(/^.*\r(?!$)/gm, "");
  }

  pre.addEventListener("wheel", () => {
    follow.checked = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
  }, { passive: true });
  follow.addEventListener("change", () => { if (follow.checked) { pre.scrollTop = pre.scrollHeight; } });
  read();
})();
