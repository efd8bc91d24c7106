// Training curves: the values at one epoch are shown at a time, by pointer or by keys.

const CURVE = { width: 320, height: 220, left: 52, right: 10, top: 8, bottom: 40 };

// Where epochs and values are drawn; `epoch(share)` is the epoch at a share of the width.
function curveScale(panel, epochs) {
  const { width, height, left, right, top, bottom } = CURVE;
  const all = panel.series.flatMap((series) => series.values).filter((value) => value !== null);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const pad = 0.05 * (high - low) || 0.5;
  const [first, last] = [epochs[0], epochs[epochs.length - 1]];
  return {
    first, last, low: low - pad, high: high + pad,
    x: (epoch) => left + ((width - left - right) * (epoch - first)) / (last - first || 1),
    y: (value) => height - bottom - ((height - top - bottom) * (value - low + pad)) / (high - low + 2 * pad),
    epoch: (share) => first + ((share * width - left) / (width - left - right)) * (last - first),
  };
}

function curvePlot(panel, { x, y, first, last, low, high }) {
  const { width, height, left, right, bottom } = CURVE;
  const ends = panel.series.map(({ name, values }) =>
    `${name}: ${number(values[0])} at epoch ${first}, ${number(values[values.length - 1])} at epoch ${last}.`);
  const text = [`${panel.title} against epochs.`, ...ends].join(" ");
  const plot = svg("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img", "aria-label": text });
  const ticks = nice(low, high, 6);
  const texts = tickTexts(ticks, high);
  ticks.forEach((tick, k) => plot.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
    svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, texts[k])));
  for (const tick of nice(first, last, 5).filter(Number.isInteger)) {
    plot.append(svg("text", { x: x(tick), y: height - bottom + 17, "text-anchor": "middle" }, String(tick)));
  }
  plot.append(svg("text", { x: width - right, y: height - 4, "text-anchor": "end" }, "epoch"));
  return plot;
}

// One series on the plot, its dot, and its line of the legend.
function curveSeries(series, k, epochs, plot, { x, y }) {
  const points = series.values.map((value, at) => (value === null ? null : `${x(epochs[at]).toFixed(1)},${y(value).toFixed(1)}`));
  const style = { stroke: colour(k), "stroke-width": 1.8, "stroke-dasharray": DASHES[k % 3], fill: "none" };
  const dot = svg("circle", { r: 3.5, fill: colour(k) });
  plot.append(svg("polyline", { points: points.filter(Boolean).join(" "), ...style }), dot);
  const value = make("b");
  const key = svg("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, svg("line", { x1: 0, x2: 22, y1: 4, y2: 4, ...style }));
  const turn = (at) => {
    value.textContent = number(series.values[at], 5);
    dot.setAttribute("cx", x(epochs[at]));
    dot.setAttribute("cy", series.values[at] === null ? -9 : y(series.values[at]));
  };
  return { turn, item: make("li", {}, key, make("span", {}, series.name), value) };
}

function curve(panel, epochs) {
  const scale = curveScale(panel, epochs);
  const plot = curvePlot(panel, scale);
  const cursor = svg("line", { class: "axis", y1: CURVE.top, y2: CURVE.height - CURVE.bottom });
  plot.append(cursor);
  const parts = panel.series.map((series, k) => curveSeries(series, k, epochs, plot, scale));
  const epoch = make("b");
  let place = epochs.length - 1;
  const turn = (at) => {
    place = at;
    epoch.textContent = epochs[at];
    cursor.setAttribute("x1", scale.x(epochs[at]));
    cursor.setAttribute("x2", scale.x(epochs[at]));
    parts.forEach((part) => part.turn(at));
  };
  const listen = (told) => listenToCurve(plot, epochs, scale, () => place, told);
  const legend = make("ul", { class: "legend", "aria-live": "polite" },
    make("li", { class: "soft" }, make("span", {}, "epoch"), epoch), ...parts.map((part) => part.item));
  return { element: make("figure", { class: "panel" }, make("h3", {}, panel.title), legend, plot), turn, listen };
}

// Call `told` with the place of the epoch that a pointer or a key chooses.
function listenToCurve(plot, epochs, scale, place, told) {
  const pointed = (event) => {
    const box = plot.getBoundingClientRect();
    const wanted = scale.epoch((event.clientX - box.left) / box.width);
    told(epochs.reduce((best, value, at) => (Math.abs(value - wanted) < Math.abs(epochs[best] - wanted) ? at : best), 0));
  };
  plot.addEventListener("pointermove", pointed);
  plot.addEventListener("pointerdown", pointed);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -epochs.length, End: epochs.length }[event.key];
    if (!step) return;
    event.preventDefault();
    told(clamp(place() + step, 0, epochs.length - 1));
  });
}
