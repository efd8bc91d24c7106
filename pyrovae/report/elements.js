"use strict";
// The page draws the report from the JSON in it. Nothing is fetched: images are sprite sheets in data addresses.

const report = JSON.parse(document.getElementById("report").textContent);

// The palette of pyrovae.plots: Okabe and Ito's colours, then Tol's. Black and wine are lighter on dark paper.
const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "var(--black)", "var(--wine)", "#8A8A8A"];
const DASHES = ["", "6 3", "2 2"];
const FEW = 12; // numbers of one data point that are written out; more are drawn as a line

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

// The decimals of a value whose error shows two digits.
const decimals = (error) => (error > 0 ? Math.min(Math.max(1 - Number(error.toExponential(1).split("e")[1]), 0), 6) : 2);
const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
// A standard error with two digits, as `plus_minus` prints it in Python: 0.0090, never 0.009.
const errorText = (error) => (error > 0 ? (error < 5e-7 ? "< 0.000001" : fixed(error, decimals(error))) : number(error));
// Beyond the palette, hues a golden angle apart: no two labels share a colour.
const colour = (index) => (index < PALETTE.length ? PALETTE[index] : `hsl(${((index * 137.508) % 360).toFixed(1)} 70% ${index % 2 ? 38 : 62}%)`);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function nice(low, high, count) {
  const raw = (high - low || 1) / count;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((size) => size >= raw);
  const ticks = [];
  const first = Math.ceil(low / step);
  // Counted, because beyond 2^53 the next whole number is the same one.
  for (let n = 0; n <= 2 * count && (first + n) * step <= high + step * 1e-9; n++) ticks.push(Number(((first + n) * step).toPrecision(12)));
  return ticks;
}

// Ticks as text, all with the decimals that tell them apart: 3.90, 3.95, 4.00.
function tickTexts(ticks, high) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : Math.abs(high) || 1;
  const size = Math.max(step, ...ticks.map(Math.abs));
  if (size >= 1e6 || step < 1e-4) return ticks.map((tick) => number(tick, 6));
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return ticks.map((tick) => fixed(tick, decimals));
}

// An album shows its data points one by one: `picture(album, index, label)` is an element with a method `turn(index, label)`.

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
