// Traversals: a slider moves one dimension of a code, from the code of the data point that is chosen.

function traversals(section) {
  const { bases } = section;
  const cards = section.dims.map((dim, place) => traversalCard(section, dim, place));
  const start = isTable(section.data) ? null : picture(section.data, 0, bases[0]);
  const options = bases.map((name, k) => make("option", { value: k }, name));
  const choice = make("select", { "aria-label": "data point to start from" }, ...options);
  choice.addEventListener("change", () => {
    const base = Number(choice.value);
    if (start) start.turn(base, bases[base]);
    cards.forEach((card) => card.reset(base));
  });
  cards.forEach((card) => card.reset(0));
  const more = section.left_out ? make("p", { class: "note" }, `${section.left_out} dimensions of lower rate are left out.`) : null;
  return [make("div", { class: "base" }, make("span", {}, "from"), choice, section.album.kind === "images" ? start : null),
    make("div", { class: "dims" }, ...cards.map((card) => card.element)), more];
}

// One dimension with its slider; `reset(base)` puts it at the code of another data point.
function traversalCard({ album, values, dims, start }, dim, place) {
  const steps = values[0].length;
  const images = album.kind === "images";
  let base = 0;
  const at = (step) => (base * dims.length + place) * steps + step;
  const shown = picture(album, at(0), dim.name);
  const ends = [values[place][0], values[place][steps - 1]].map((value) => number(value, 2));
  const film = images ? make("canvas", { role: "img", "aria-label": `${dim.name} from ${ends[0]} to ${ends[1]}` }) : null;
  const value = make("output");
  const slider = make("input", { type: "range", min: 0, max: steps - 1, step: 1, "aria-label": `value of ${dim.name}` });
  const turn = () => {
    const step = Number(slider.value);
    value.textContent = fixed(values[place][step], 2);
    slider.setAttribute("aria-valuetext", value.textContent);
    shown.turn(at(step), `${dim.name} at ${value.textContent}`);
  };
  const reset = (chosen) => {
    base = chosen;
    const distances = values[place].map((v) => Math.abs(v - start[base][place]));
    slider.value = distances.indexOf(Math.min(...distances));
    if (film) paint(film, album, values[place].map((_, step) => at(step)));
    turn();
  };
  slider.addEventListener("input", turn);
  const rate = dim.rate === null ? "" : `rate ${fixed(dim.rate, 2)} nats`;
  const head = make("div", { class: "head" }, make("b", {}, dim.name), make("span", { class: "soft" }, rate), value);
  const element = make("div", { class: "dim" + (images ? "" : " plain") }, head, shown, make("div", {}, film, slider));
  return { element, reset };
}
