"use strict";
// Draws the report out of the JSON beside it. Nothing is fetched: images are sprite sheets in data addresses.

const report = JSON.parse(document.getElementById("report").textContent);

// The palette of pyrovae.plots: Okabe and Ito's colours, then Tol's. Black and wine are lighter on dark paper.
const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "var(--black)", "var(--wine)", "#999933"];
const DASHES = ["", "6 3", "2 2"];
const FEW = 12; // numbers of one datum that are written out; more are drawn as a line

// ---------------------------------------------------------------------------------------------- elements

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
  return text.replaceAll("-", "−");
}

const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
const colour = (index) => PALETTE[index % PALETTE.length];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function nice(low, high, count) {
  const raw = (high - low || 1) / count;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((size) => size >= raw);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

// ------------------------------------------------------------------------------------------------ albums

// An album shows its data one by one: `picture(album, index, label)` is an element with a method `turn(index, label)`.

async function load(album) {
  if (album.kind === "images") {
    album.image = new Image();
    album.image.src = album.source;
    await album.image.decode();
  } else {
    const all = album.values.flat().filter((value) => value !== null);
    album.low = Math.min(...all);
    album.high = Math.max(...all);
  }
}

const isTable = (album) => album.kind === "numbers" && album.names.length <= FEW;
const lines = (album) => (album.kind === "numbers" ? " lines" : "");

function paint(canvas, album, indices) {
  const { width, height, columns, image } = album;
  canvas.width = width * indices.length;
  canvas.height = height;
  const context = canvas.getContext("2d");
  indices.forEach((index, place) => {
    const left = (index % columns) * width;
    const top = Math.floor(index / columns) * height;
    context.drawImage(image, left, top, width, height, place * width, 0, width, height);
  });
}

function picture(album, index, label) {
  const element = album.kind === "images" ? make("canvas", { role: "img" }) : isTable(album) ? make("div", { class: "values" }) :
    svg("svg", { class: "spark", viewBox: "0 0 200 70", role: "img", preserveAspectRatio: "none" });
  element.turn = (at, words) => {
    if (album.kind === "images") paint(element, album, [at]);
    else if (isTable(album)) element.replaceChildren(...album.values[at].map((value, k) =>
      make("span", {}, make("span", { class: "soft" }, album.names[k]), ` ${number(value, 3)}`)));
    else element.replaceChildren(spark(album, at));
    if (!isTable(album)) element.setAttribute("aria-label", words);
    element.dataset.index = at;
  };
  element.turn(index, label);
  return element;
}

function spark(album, index) {
  const values = album.values[index];
  const x = (k) => 3 + (194 * k) / Math.max(1, values.length - 1);
  const y = (value) => 66 - (62 * (value - album.low)) / (album.high - album.low || 1);
  const points = values.map((value, k) => (value === null ? null : `${x(k).toFixed(1)},${y(value).toFixed(1)}`));
  return svg("polyline", { points: points.filter(Boolean).join(" "), fill: "none", stroke: PALETTE[0], "stroke-width": 1.3,
    "vector-effect": "non-scaling-stroke" });
}

// Rows of an album of few numbers, each `[label, index]`.
function table(names, rows, album) {
  const head = make("tr", {}, make("th", { scope: "col" }), ...names.map((name) => make("th", { scope: "col", class: "number" }, name)));
  const body = rows.map(([label, index]) => make("tr", {}, make("th", { scope: "row" }, label),
    ...album.values[index].map((value) => make("td", { class: "number" }, number(value, 3)))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

// ---------------------------------------------------------------------------------------------- sections

const KINDS = {
  overview(section) {
    const tiles = section.tiles.filter(([, estimate]) => estimate[0] !== null).map(([name, [value, error], note]) =>
      make("div", { class: "tile" }, make("span", {}, name), make("b", {}, fixed(value, 2)),
        make("div", { class: "note" }, `± ${number(error, 2)} nats per datum`), make("div", { class: "note" }, note)));
    const facts = [];
    const rest = [];
    for (const [name, value] of Object.entries(section.facts)) {
      if (typeof value === "object") rest.push(make("details", {}, make("summary", {}, name), definitions(value)));
      else if (value.includes("\n")) rest.push(make("details", {}, make("summary", {}, name), make("pre", { tabindex: 0 }, value)));
      else facts.push([name, value]);
    }
    return [make("div", { class: "tiles" }, ...tiles), definitions(Object.fromEntries(facts)), ...rest];
  },

  note(section) {
    return [make("p", { class: "soft" }, section.message)];
  },

  curves(section) {
    const panels = section.panels.map((panel) => curve(panel, section.epochs));
    const turn = (place) => panels.forEach((panel) => panel.turn(place));
    panels.forEach((panel) => panel.listen(turn));
    turn(section.epochs.length - 1);
    return [make("div", { class: "panels" }, ...panels.map((panel) => panel.element))];
  },

  gallery(section) {
    const { album, items, names } = section;
    const words = (item, place) => [names[place], item.label].filter(Boolean).join(", ");
    if (isTable(album)) {
      const rows = items.flatMap((item) => item.at.map((index, place) => [words(item, place), index]));
      return [make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": section.title }, table(album.names, rows, album))];
    }
    if (section.groups) {
      const shown = (item, from, count) => item.at.slice(from, from + count).map((index, k) => picture(album, index, words(item, from + k)));
      return [make("div", { class: "rows" }, ...items.map((item) => make("div", {}, make("h3", {}, item.label),
        make("div", { class: "row" + lines(album) }, ...section.groups.map(([name, from, count]) =>
          make("figure", {}, make("div", {}, ...shown(item, from, count)), make("figcaption", {}, name)))))))];
    }
    return [make("div", { class: "grid" + lines(album) }, ...items.map((item) => make("figure", {},
      ...item.at.map((index, place) => picture(album, index, words(item, place))),
      section.captions ? make("figcaption", {}, item.label) : null)))];
  },

  map: latentMap,
  traversals,
  checks,
  estimates,
};

function definitions(facts) {
  const entries = Object.entries(facts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]);
  return make("dl", {}, ...entries);
}

// ------------------------------------------------------------------------------------------------ curves

function curve(panel, epochs) {
  const [width, height, left, right, top, bottom] = [360, 220, 44, 8, 8, 34];
  const all = panel.series.flatMap((series) => series.values).filter((value) => value !== null);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const pad = 0.05 * (high - low) || 0.5;
  const [first, last] = [epochs[0], epochs[epochs.length - 1]];
  const x = (epoch) => left + ((width - left - right) * (epoch - first)) / (last - first || 1);
  const y = (value) => height - bottom - ((height - top - bottom) * (value - low + pad)) / (high - low + 2 * pad);
  const text = `${panel.title} against epochs. ` + panel.series.map((series) =>
    `${series.name}: ${number(series.values[0])} at epoch ${first}, ${number(series.values[epochs.length - 1])} at epoch ${last}.`).join(" ");
  const plot = svg("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img", "aria-label": text });
  for (const tick of nice(low - pad, high + pad, 7)) {
    plot.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
  }
  for (const tick of nice(first, last, 6).filter(Number.isInteger)) {
    plot.append(svg("text", { x: x(tick), y: height - bottom + 16, "text-anchor": "middle" }, String(tick)));
  }
  plot.append(svg("text", { x: width - right, y: height - 4, "text-anchor": "end" }, "epoch"));
  const cursor = svg("line", { class: "axis", y1: top, y2: height - bottom });
  plot.append(cursor);
  const parts = panel.series.map((series, k) => {
    const points = series.values.map((value, at) => (value === null ? null : `${x(epochs[at]).toFixed(1)},${y(value).toFixed(1)}`));
    const style = { stroke: colour(k), "stroke-width": 1.8, "stroke-dasharray": DASHES[k % 3], fill: "none" };
    const dot = svg("circle", { r: 3.5, fill: colour(k) });
    plot.append(svg("polyline", { points: points.filter(Boolean).join(" "), ...style }), dot);
    const value = make("b");
    const key = svg("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, svg("line", { x1: 0, x2: 22, y1: 4, y2: 4, ...style }));
    return { series, dot, value, item: make("li", {}, key, make("span", {}, series.name), value) };
  });
  const epoch = make("b");
  let place = epochs.length - 1;
  const turn = (at) => {
    place = at;
    epoch.textContent = epochs[at];
    cursor.setAttribute("x1", x(epochs[at]));
    cursor.setAttribute("x2", x(epochs[at]));
    for (const { series, dot, value } of parts) {
      const now = series.values[at];
      value.textContent = number(now, 5);
      dot.setAttribute("cx", x(epochs[at]));
      dot.setAttribute("cy", now === null ? -9 : y(now));
    }
  };
  const listen = (told) => {
    const pointed = (event) => {
      const box = plot.getBoundingClientRect();
      const wanted = first + ((((event.clientX - box.left) / box.width) * width - left) / (width - left - right)) * (last - first);
      told(epochs.reduce((best, value, at) => (Math.abs(value - wanted) < Math.abs(epochs[best] - wanted) ? at : best), 0));
    };
    plot.addEventListener("pointermove", pointed);
    plot.addEventListener("pointerdown", pointed);
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -epochs.length, End: epochs.length }[event.key];
      if (!step) return;
      event.preventDefault();
      told(clamp(place + step, 0, epochs.length - 1));
    });
  };
  const legend = make("ul", { class: "legend", "aria-live": "polite" },
    make("li", { class: "soft" }, make("span", {}, "epoch"), epoch), ...parts.map((part) => part.item));
  return { element: make("figure", { class: "panel" }, make("h3", {}, panel.title), legend, plot), turn, listen };
}

// --------------------------------------------------------------------------------------------------- map

function latentMap(section) {
  const { half, side, points, label, labels } = section;
  const size = 400;
  const px = (value) => (size * (value + half)) / (2 * half);
  const py = (value) => size - px(value);
  const plot = svg("svg", { class: "plot", viewBox: `0 0 ${size} ${size}`, tabindex: 0, role: "img",
    "aria-label": `${points.length} data in the plane of ${section.axes.join(" and ")}. The arrow keys move the place that is decoded.` });
  const behind = section.grid.kind === "images" && section.grid.columns === side ?
    svg("image", { class: "behind", href: section.grid.source, width: size, height: size, preserveAspectRatio: "none", opacity: 0.45, visibility: "hidden" }) : null;
  if (behind) plot.append(behind);
  for (const tick of nice(-half, half, 6)) {
    plot.append(svg("line", { class: "axis", x1: px(tick), x2: px(tick), y1: 0, y2: size }),
      svg("line", { class: "axis", y1: py(tick), y2: py(tick), x1: 0, x2: size }));
    if (Math.abs(tick) < 0.93 * half) {
      plot.append(svg("text", { x: px(tick) + 3, y: size - 4 }, number(tick)), svg("text", { x: 3, y: py(tick) - 3 }, number(tick)));
    }
  }
  const prior = svg("g", {}, ...section.prior.map(([a, b]) => svg("circle", { class: "prior", cx: px(a), cy: py(b), r: 2 })));
  const groups = (labels.length ? labels : [null]).map(() => svg("g"));
  points.forEach(([a, b], row) => {
    const group = labels.length ? label[row] : 0;
    groups[group].append(svg("circle", { cx: px(a), cy: py(b), r: 3.2, fill: colour(group), "fill-opacity": 0.85 }));
  });
  const across = svg("line", { class: "cross", x1: 0, x2: size });
  const up = svg("line", { class: "cross", y1: 0, y2: size });
  const near = svg("circle", { class: "near", r: 6 });
  plot.append(prior, ...groups, across, up, near);

  const here = picture(section.grid, 0, "");
  const datum = picture(section.data, 0, "");
  const hereText = make("figcaption", { "aria-live": "polite" });
  const datumText = make("figcaption");
  const sliders = section.axes.map((axis) => make("input", { type: "range", min: -half, max: half, step: half / 60, "aria-label": axis }));
  const hidden = new Set();
  const place = [0, 0];

  function turn(a, b) {
    place[0] = clamp(a, -half, half);
    place[1] = clamp(b, -half, half);
    const cell = (value) => clamp(Math.round(((value + half) / (2 * half)) * (side - 1)), 0, side - 1);
    const where = `${section.short[0]} ${fixed(place[0], 2)}, ${section.short[1]} ${fixed(place[1], 2)}`;
    here.turn((side - 1 - cell(place[1])) * side + cell(place[0]), `decoded at ${where}`);
    hereText.textContent = `decoded at ${where}`;
    for (const [line, axis, value] of [[up, "x", px(place[0])], [across, "y", py(place[1])]]) {
      line.setAttribute(`${axis}1`, value);
      line.setAttribute(`${axis}2`, value);
    }
    sliders.forEach((slider, k) => { slider.value = place[k]; });
    let best = -1;
    let least = Infinity;
    points.forEach(([u, v], row) => {
      const distance = (u - place[0]) ** 2 + (v - place[1]) ** 2;
      if (distance < least && !(labels.length && hidden.has(label[row]))) [best, least] = [row, distance];
    });
    near.setAttribute("visibility", best < 0 ? "hidden" : "visible");
    if (best < 0) return;
    near.setAttribute("cx", px(points[best][0]));
    near.setAttribute("cy", py(points[best][1]));
    const words = `nearest datum, number ${best + 1}` + (labels.length ? `, label ${labels[label[best]]}` : "");
    datum.turn(best, words);
    datumText.textContent = words;
  }

  const pointed = (event) => {
    const box = plot.getBoundingClientRect();
    turn(half * ((2 * (event.clientX - box.left)) / box.width - 1), half * (1 - (2 * (event.clientY - box.top)) / box.height));
  };
  plot.addEventListener("pointermove", pointed);
  plot.addEventListener("pointerdown", pointed);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    turn(place[0] + (step[0] * half) / 12, place[1] + (step[1] * half) / 12);
  });
  sliders.forEach((slider, k) => slider.addEventListener("input", () => {
    const next = [...place];
    next[k] = Number(slider.value);
    turn(...next);
  }));

  const keys = labels.map((name, group) => {
    const button = make("button", { type: "button", "aria-pressed": "true" });
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = colour(group);
    button.append(swatch, name);
    button.addEventListener("click", () => {
      hidden[hidden.has(group) ? "delete" : "add"](group);
      button.setAttribute("aria-pressed", String(!hidden.has(group)));
      groups[group].setAttribute("visibility", hidden.has(group) ? "hidden" : "visible");
      turn(...place);
    });
    return button;
  });
  const boxes = [["draws of the prior", prior, true], ["decoded images behind", behind, false]].filter(([, layer]) => layer)
    .map(([name, layer, shown]) => {
      const box = make("input", { type: "checkbox", checked: shown,
        onchange: () => layer.setAttribute("visibility", box.checked ? "visible" : "hidden") });
      return make("label", { class: "check-box" }, box, name);
    });
  turn(0, 0);
  return [make("div", { class: "map" },
    make("div", { class: "place" }, plot, make("div", { class: "note" }, `across: ${section.axes[0]}; up: ${section.axes[1]}`)),
    make("div", { class: "controls" }, ...sliders.map((slider, k) => make("label", { class: "slider" }, ["across", "up"][k], slider)),
      make("div", {}, ...boxes), labels.length ? make("div", { class: "keys", role: "group", "aria-label": "labels shown" }, ...keys) : ""),
    make("div", { class: "look" + (section.grid.kind === "images" ? "" : " wide") },
      make("figure", { class: "here" }, here, hereText), make("figure", { class: "nearest" }, datum, datumText)))];
}

// -------------------------------------------------------------------------------------------- traversals

function traversals(section) {
  const { album, values, dims, bases } = section;
  const steps = values[0].length;
  const images = album.kind === "images";
  let base = 0;
  const cards = dims.map((dim, place) => {
    const at = (step) => (base * dims.length + place) * steps + step;
    const shown = picture(album, at(0), dim.name);
    const film = images ? make("canvas", { role: "img", "aria-label": `${dim.name} from ${number(values[place][0], 2)} to ${number(values[place][steps - 1], 2)}` }) : null;
    const value = make("output");
    const slider = make("input", { type: "range", min: 0, max: steps - 1, step: 1, "aria-label": `value of ${dim.name}` });
    const turn = () => {
      const step = Number(slider.value);
      value.textContent = fixed(values[place][step], 2);
      slider.setAttribute("aria-valuetext", value.textContent);
      shown.turn(at(step), `${dim.name} at ${value.textContent}`);
    };
    slider.addEventListener("input", turn);
    const rate = dim.rate === null ? "" : `rate ${fixed(dim.rate, 2)} nats`;
    return {
      element: make("div", { class: "dim" + (images ? "" : " plain") },
        make("div", { class: "head" }, make("b", {}, dim.name), make("span", { class: "soft" }, rate), value),
        shown, make("div", {}, film, slider)),
      reset() {
        const distances = values[place].map((v) => Math.abs(v - section.start[base][place]));
        slider.value = distances.indexOf(Math.min(...distances));
        if (film) paint(film, album, values[place].map((_, step) => at(step)));
        turn();
      },
    };
  });
  const datum = isTable(section.data) ? null : picture(section.data, 0, bases[0]);
  const choice = make("select", { "aria-label": "datum to start from" }, ...bases.map((name, k) => make("option", { value: k }, name)));
  choice.addEventListener("change", () => {
    base = Number(choice.value);
    if (datum) datum.turn(base, bases[base]);
    cards.forEach((card) => card.reset());
  });
  cards.forEach((card) => card.reset());
  const more = section.left_out ? make("p", { class: "note" }, `${section.left_out} dimensions of lower rate are left out.`) : null;
  return [make("div", { class: "base" }, make("span", {}, "from"), choice, images ? datum : null),
    make("div", { class: "dims" }, ...cards.map((card) => card.element)), more];
}

// ------------------------------------------------------------------------------------ trust and evidence

const measured = ({ value, error }) => (error === null || error < 1e-6 * Math.abs(value) ? number(value, 3) : `${number(value, 3)} ± ${number(error, 2)}`);

function checks(section) {
  const rows = section.checks.map((check) => make("div", { class: "check" },
    make("div", { class: "head" }, make("span", { class: `verdict ${check.good ? "good" : "bad"}` }, check.good ? "✓ good" : "⚠ take care"),
      make("b", {}, check.name), make("span", { class: "value" }, measured(check))),
    make("p", {}, check.verdict)));
  const absent = Object.fromEntries(section.absent.map(({ name, reason }) => [name, reason]));
  return [make("div", {}, ...rows),
    section.absent.length ? make("details", {}, make("summary", {}, "not measured"), definitions(absent)) : null,
    section.bars.length ? make("div", { class: "charts" }, ...section.bars.map(bars)) : null];
}

function bars(chart) {
  const [width, height, left, bottom, top] = [640, 150, 40, 30, 8];
  const high = Math.max(...chart.values, chart.level || 0) || 1;
  const step = (width - left - 4) / chart.values.length;
  const y = (value) => height - bottom - ((height - top - bottom) * value) / high;
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": chart.words });
  for (const tick of nice(0, high, 3)) {
    plot.append(svg("line", { class: "axis", x1: left, x2: width, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
  }
  const every = Math.ceil(chart.values.length / 12);
  chart.values.forEach((value, k) => {
    const bar = svg("rect", { x: left + k * step + 1, width: Math.max(1, step - 2), y: y(value), height: height - bottom - y(value), fill: colour(0) });
    bar.append(svg("title", {}, `${chart.names[k]}: ${number(value)}`));
    plot.append(bar);
    if (k % every === 0) plot.append(svg("text", { x: left + (k + 0.5) * step, y: height - bottom + 15, "text-anchor": "middle" }, chart.names[k]));
  });
  if (chart.level) plot.append(svg("line", { x1: left, x2: width, y1: y(chart.level), y2: y(chart.level), stroke: colour(4), "stroke-dasharray": "5 3", "stroke-width": 1.5 }));
  return make("figure", { class: "chart" }, make("h3", {}, chart.title), plot, make("figcaption", {}, chart.words));
}

const whiskers = (from, to, y) => `M${from},${y - 8}v16M${from},${y}H${to}M${to},${y - 8}v16`;

function estimates(section) {
  return section.groups.flatMap(({ title, rows }) => [title ? make("h3", {}, title) : null, intervals(rows), listing(section.title, rows)]);
}

function intervals(all) {
  const rows = all.filter((row) => row.value !== null);
  const [width, left, right, line] = [640, 250, 20, 32];
  const height = rows.length * line + 30;
  const ends = rows.flatMap((row) => [row.value - 2 * row.error, row.value + 2 * row.error]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const pad = 0.06 * (high - low) || 1;
  const x = (value) => left + ((width - left - right) * (value - low + pad)) / (high - low + 2 * pad);
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": rows.map((row) => `${row.name}: ${number(row.value, 6)} ± ${number(row.error, 2)}`).join("; ") });
  for (const tick of nice(low - pad, high + pad, 5)) {
    plot.append(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: 0, y2: height - 24 }),
      svg("text", { x: x(tick), y: height - 8, "text-anchor": "middle" }, number(tick, 6)));
  }
  rows.forEach((row, k) => {
    const y = line * (k + 0.5);
    plot.append(svg("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, row.name),
      svg("circle", { cx: x(row.value), cy: y, r: 4, fill: colour(0) }),
      svg("path", { d: whiskers(x(row.value - 2 * row.error), x(row.value + 2 * row.error), y), stroke: colour(0), "stroke-width": 1.5, fill: "none" }));
  });
  return rows.length > 1 ? make("figure", { class: "chart" }, plot) : null;
}

function listing(title, rows) {
  const columns = [["nats per datum", (row) => fixed(row.value, 3)], ["± standard error", (row) => number(row.error, 2)],
    ["effective draws", (row) => number(row.ess, 3)], ["seconds", (row) => number(row.seconds, 2)]]
    .filter(([, cell]) => rows.some((row) => cell(row) !== "–"));
  const noted = rows.some((row) => row.note);
  const head = make("tr", {}, make("th", { scope: "col" }, "estimate"),
    ...columns.map(([name]) => make("th", { scope: "col", class: "number" }, name)), noted ? make("th", { scope: "col" }, "note") : "");
  const body = rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.name),
    ...columns.map(([, cell]) => make("td", { class: "number" }, cell(row))), noted ? make("td", {}, row.note) : ""));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
    make("table", { class: "wide" }, make("thead", {}, head), make("tbody", {}, ...body)));
}

// -------------------------------------------------------------------------------------------------- page

async function start() {
  const albums = report.sections.flatMap((section) => [section.album, section.grid, section.data].filter(Boolean));
  await Promise.all(albums.map(load));
  const main = document.getElementById("content");
  main.append(make("h1", {}, report.title), make("p", { class: "lead" }, report.lead));
  const links = report.sections.map((section, k) => {
    const id = `section-${k + 1}`;
    const parts = KINDS[section.kind](section).filter((part) => part !== null);
    main.append(make("section", { id, "data-kind": section.kind, "aria-labelledby": `${id}-title` }, make("h2", { id: `${id}-title` }, section.title),
      section.text ? make("p", { class: "soft" }, section.text) : null, ...parts));
    return make("li", {}, make("a", { href: `#${id}` }, section.title));
  });
  document.querySelector("nav").append(make("ol", {}, ...links));
  document.documentElement.dataset.ready = "yes";
}

start();
