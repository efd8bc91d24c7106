// The latent map: a plane of codes, decoded at the place that a pointer, a key or a slider chooses.

const MAP = 400; // side of the plot

function latentMap(section) {
  const { half, labels } = section;
  const hidden = new Set();
  const place = [0, 0];
  const plot = mapPlot(section);
  const look = mapLook(section);
  const sliders = section.axes.map((axis) => make("input", { type: "range", min: -half, max: half, step: half / 60, "aria-label": axis }));
  const turn = (a, b) => {
    place[0] = clamp(a, -half, half);
    place[1] = clamp(b, -half, half);
    sliders.forEach((slider, k) => { slider.value = place[k]; });
    const near = nearest(section, place, hidden);
    plot.turn(place, near);
    look.turn(place, near);
  };
  listenToMap(plot.element, sliders, half, place, turn);
  const keys = labels.map((name, group) => labelKey(name, group, hidden, plot.groups[group], () => turn(...place)));
  const layers = [layerBox("draws of the prior", plot.prior, true), layerBox("decoded images behind", plot.behind, false)];
  turn(0, 0);
  return [make("div", { class: "map" },
    make("div", { class: "place" }, plot.element, make("div", { class: "note" }, `across: ${section.axes[0]}; up: ${section.axes[1]}`)),
    make("div", { class: "controls" }, ...sliders.map((slider, k) => make("label", { class: "slider" }, ["across", "up"][k], slider)),
      make("div", {}, ...layers), labels.length ? make("div", { class: "keys", role: "group", "aria-label": "labels shown" }, ...keys) : ""),
    look.element)];
}

// The number of the nearest data point whose label is not hidden; -1 where all are.
function nearest({ points, labels, label }, place, hidden) {
  let best = -1;
  let least = Infinity;
  points.forEach(([u, v], row) => {
    const distance = (u - place[0]) ** 2 + (v - place[1]) ** 2;
    if (distance < least && !(labels.length && hidden.has(label[row]))) [best, least] = [row, distance];
  });
  return best;
}

// The plot; `turn` moves its cross and the ring around the nearest data point.
function mapPlot({ half, side, points, label, labels, prior, grid, axes }) {
  const px = (value) => (MAP * (value + half)) / (2 * half);
  const py = (value) => MAP - px(value);
  const element = svg("svg", { class: "plot", viewBox: `0 0 ${MAP} ${MAP}`, tabindex: 0, role: "img",
    "aria-label": `${points.length} data points in the plane of ${axes.join(" and ")}. The arrow keys move the place that is decoded.` });
  const behind = grid.kind === "images" && grid.columns === side ?
    svg("image", { class: "behind", href: grid.source, width: MAP, height: MAP, preserveAspectRatio: "none", opacity: 0.45, visibility: "hidden" }) : null;
  const draws = svg("g", {}, ...prior.map(([a, b]) => svg("circle", { class: "prior", cx: px(a), cy: py(b), r: 2 })));
  const groups = (labels.length ? labels : [null]).map(() => svg("g"));
  points.forEach(([a, b], row) => {
    const group = labels.length ? label[row] : 0;
    groups[group].append(svg("circle", { cx: px(a), cy: py(b), r: 3.2, fill: colour(group), "fill-opacity": 0.85 }));
  });
  const across = svg("line", { class: "cross", x1: 0, x2: MAP });
  const up = svg("line", { class: "cross", y1: 0, y2: MAP });
  const ring = svg("circle", { class: "near", r: 6 });
  element.append(...(behind ? [behind] : []), ...mapTicks(half, px, py), draws, ...groups, across, up, ring);
  const turn = (place, near) => {
    for (const [line, axis, value] of [[up, "x", px(place[0])], [across, "y", py(place[1])]]) {
      line.setAttribute(`${axis}1`, value);
      line.setAttribute(`${axis}2`, value);
    }
    ring.setAttribute("visibility", near < 0 ? "hidden" : "visible");
    if (near < 0) return;
    ring.setAttribute("cx", px(points[near][0]));
    ring.setAttribute("cy", py(points[near][1]));
  };
  return { element, behind, prior: draws, groups, turn };
}

function mapTicks(half, px, py) {
  const ticks = nice(-half, half, 6);
  const texts = tickTexts(ticks, half);
  return ticks.flatMap((tick, k) => {
    const lines = [svg("line", { class: "axis", x1: px(tick), x2: px(tick), y1: 0, y2: MAP }),
      svg("line", { class: "axis", y1: py(tick), y2: py(tick), x1: 0, x2: MAP })];
    if (Math.abs(tick) >= 0.93 * half) return lines;
    return [...lines, svg("text", { x: px(tick) + 3, y: MAP - 4 }, texts[k]), svg("text", { x: 3, y: py(tick) - 3 }, texts[k])];
  });
}

// What the place decodes to, beside the nearest data point.
function mapLook({ half, side, short, grid, data, labels, label }) {
  const here = picture(grid, 0, "");
  const nearPicture = picture(data, 0, "");
  const hereText = make("figcaption", { "aria-live": "polite" });
  const nearText = make("figcaption");
  const cell = (value) => clamp(Math.round(((value + half) / (2 * half)) * (side - 1)), 0, side - 1);
  const turn = (place, near) => {
    const words = `decoded at ${short[0]} ${fixed(place[0], 2)}, ${short[1]} ${fixed(place[1], 2)}`;
    here.turn((side - 1 - cell(place[1])) * side + cell(place[0]), words);
    hereText.textContent = words;
    if (near < 0) return;
    const name = `nearest data point, number ${near + 1}` + (labels.length ? `, label ${labels[label[near]]}` : "");
    nearPicture.turn(near, name);
    nearText.textContent = name;
  };
  const element = make("div", { class: "look" + (grid.kind === "images" ? "" : " wide") },
    make("figure", { class: "here" }, here, hereText), make("figure", { class: "nearest" }, nearPicture, nearText));
  return { element, turn };
}

// Call `turn` with the place that the pointer, the arrow keys or the sliders choose.
function listenToMap(plot, sliders, half, place, turn) {
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
}

// A button that hides the data points of a label, and shows them again.
function labelKey(name, group, hidden, layer, changed) {
  const button = make("button", { type: "button", "aria-pressed": "true" });
  const swatch = make("span", { class: "swatch" });
  swatch.style.background = colour(group);
  button.append(swatch, name);
  button.addEventListener("click", () => {
    hidden[hidden.has(group) ? "delete" : "add"](group);
    button.setAttribute("aria-pressed", String(!hidden.has(group)));
    layer.setAttribute("visibility", hidden.has(group) ? "hidden" : "visible");
    changed();
  });
  return button;
}

// A box that shows and hides a layer of the plot; nothing where the plot has no such layer.
function layerBox(name, layer, shown) {
  if (!layer) return null;
  const box = make("input", { type: "checkbox", checked: shown,
    onchange: () => layer.setAttribute("visibility", box.checked ? "visible" : "hidden") });
  return make("label", { class: "check-box" }, box, name);
}
