/* The cursor of a chart: pointer or arrow keys pick a point, the caption shows its value and place. */
"use strict";
(() => {
  const number = new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: 4 });
  const latest = new WeakMap(); // what the caption says without a cursor
  const at = new WeakMap();

  function pick(figure, index) {
    const points = JSON.parse(figure.dataset.chart);
    const point = points[Math.min(points.length - 1, Math.max(0, index))];
    if (!point) { return; }
    const [x, y, left] = point, output = figure.querySelector("output"), line = figure.querySelector(".cursor");
    if (!latest.has(figure)) { latest.set(figure, output.textContent); }
    at.set(figure, Math.min(points.length - 1, Math.max(0, index)));
    line.setAttribute("x1", left);
    line.setAttribute("x2", left);
    figure.classList.add("pointed");
    const value = figure.dataset.share === "1" ? `${number.format(y * 100)} %` : `${number.format(y)} ${figure.dataset.unit}`;
    output.textContent = `${value.trim()} @ ${number.format(x)} ${figure.dataset.x}`;
  }

  function leave(figure) {
    at.delete(figure);
    figure.classList.remove("pointed");
    if (latest.has(figure)) { figure.querySelector("output").textContent = latest.get(figure); latest.delete(figure); }
  }

  function nearest(figure, clientX) {
    const box = figure.querySelector("svg").getBoundingClientRect();
    const left = 100 * (clientX - box.left) / box.width;
    const points = JSON.parse(figure.dataset.chart);
    let best = 0;
    points.forEach((point, index) => { if (Math.abs(point[2] - left) < Math.abs(points[best][2] - left)) { best = index; } });
    return best;
  }

  document.addEventListener("pointermove", (event) => {
    const figure = event.target.closest?.(".chart");
    for (const other of document.querySelectorAll(".chart")) {
      if (other !== figure && at.has(other) && other !== document.activeElement) { leave(other); }
    }
    if (figure && event.target.closest(".plot")) { pick(figure, nearest(figure, event.clientX)); }
  });
  document.addEventListener("keydown", (event) => {
    const figure = document.activeElement?.closest?.(".chart");
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!figure || !by) { return; }
    const last = JSON.parse(figure.dataset.chart).length - 1;
    pick(figure, (at.has(figure) ? at.get(figure) : last) + by);
    event.preventDefault();
  });
  document.addEventListener("focusout", (event) => {
    const figure = event.target.closest?.(".chart");
    if (figure) { leave(figure); }
  });
  document.addEventListener("stoker:refreshed", () => {
    for (const figure of document.querySelectorAll(".chart")) {
      latest.delete(figure); // the fresh caption is the latest now
      if (at.has(figure)) { pick(figure, at.get(figure)); }
    }
  });
})();
