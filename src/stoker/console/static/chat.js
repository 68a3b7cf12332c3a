/* The chat box: sends the thread to the gateway (OpenAI's API, streamed) and shows the answer as it comes; with a
   second model beside, both get the same message. */
"use strict";
(() => {
  const box = document.getElementById("chat");
  if (!box) { return; }
  const form = document.getElementById("chat-form"), prompt = document.getElementById("prompt");
  const send = document.getElementById("send");
  const models = JSON.parse(box.dataset.models);
  const history = Object.fromEntries(models.map((model) => [model, []]));
  let running = null; // AbortController of the answers being streamed

  function say(model, role, text) {
    const thread = box.querySelector(`[data-thread="${CSS.escape(model)}"]`);
    thread.querySelector(".hint")?.remove();
    const item = document.createElement("div");
    item.className = `said ${role}`;
    item.textContent = text;
    thread.append(item);
    thread.scrollTop = thread.scrollHeight;
    return item;
  }

  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) { return; }
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:") && line.slice(5).trim() !== "[DONE]") { yield JSON.parse(line.slice(5)); }
      }
    }
  }

  async function refused(answer) {
    try { return (await answer.json()).error.message; } catch { return `HTTP ${answer.status}`; }
  }

  async function ask(model, signal) {
    const item = say(model, "assistant waiting", "");
    const began = performance.now();
    let text = "", first = 0, tokens = 0;
    try {
      const answer = await fetch("/v1/chat/completions", {
        method: "POST", signal, headers: { "Content-Type": "application/json" },
        body: JSON.stringify({
          model, messages: history[model], stream: true, stream_options: { include_usage: true },
          temperature: Number(document.getElementById("temperature").value),
          max_tokens: Number(document.getElementById("max-tokens").value),
        }),
      });
      if (!answer.ok) { throw new Error(await refused(answer)); }
      for await (const event of events(answer.body)) {
        if (event.error) { throw new Error(event.error.message); }
        const piece = event.choices?.[0]?.delta?.content;
        if (piece) {
          first ||= performance.now();
          tokens += 1;
          text += piece;
          item.textContent = text;
          item.parentElement.scrollTop = item.parentElement.scrollHeight;
        }
        tokens = event.usage?.completion_tokens || tokens;
      }
      speed(item, tokens, first - began, performance.now() - first);
    } catch (error) {
      fail(item, error.name === "AbortError" ? box.dataset.stopped : error instanceof TypeError ? box.dataset.away : error.message);
    }
    item.classList.remove("waiting");
    history[model].push({ role: "assistant", content: text });
  }

  function speed(item, tokens, first, whole) {
    const rate = tokens > 1 ? new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: 3 }).format((tokens - 1) / (whole / 1000)) : "–";
    note(item, box.dataset.speed.replace("{tokens}", tokens).replace("{first}", Math.round(first)).replace("{rate}", rate), "dim");
  }
  function fail(item, message) { note(item, message, "wrong"); }
  function note(item, text, kind) {
    const line = document.createElement("p");
    line.className = `said-note num ${kind}`;
    line.textContent = text;
    item.after(line);
    item.parentElement.scrollTop = item.parentElement.scrollHeight;
  }

  async function submit() {
    if (running) { running.abort(); return; }
    const text = prompt.value.trim();
    if (!text) { prompt.focus(); return; }
    prompt.value = "";
    running = new AbortController();
    send.textContent = send.dataset.stop;
    for (const model of models) {
      history[model].push({ role: "user", content: text });
      say(model, "user", text);
    }
    await Promise.all(models.map((model) => ask(model, running.signal)));
    running = null;
    send.textContent = send.dataset.send;
    prompt.focus();
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
  });
  document.getElementById("clear").addEventListener("click", () => {
    running?.abort();
    for (const model of models) {
      history[model].length = 0;
      box.querySelectorAll(".said, .said-note").forEach((item) => item.remove());
    }
    prompt.focus();
  });
})();
