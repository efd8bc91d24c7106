// The page: one section after another, each drawn by its kind.

const KINDS = {
  overview(section) {
    const tiles = section.tiles.filter(([, estimate]) => estimate[0] !== null).map(([name, [value, error], note]) =>
      make("div", { class: "tile" }, make("span", {}, name), make("b", {}, fixed(value, decimals(error))),
        make("div", { class: "note" }, `± ${errorText(error)} nats per data point`), make("div", { class: "note" }, note)));
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
        item.note ? make("p", { class: "note" }, item.note) : null, make("div", { class: "row" + lines(album) }, ...section.groups.map(([name, from, count]) =>
          make("figure", {}, make("div", {}, ...shown(item, from, count)), make("figcaption", {}, name)))))))];
    }
    return [make("div", { class: "grid" + lines(album) }, ...items.map((item) => make("figure", {},
      ...item.at.map((index, place) => picture(album, index, words(item, place))),
      section.captions ? make("figcaption", {}, item.label) : null)))];
  },

  pictures(section) {
    return section.items.map(({ name, source }) =>
      make("figure", { class: "whole" }, make("img", { src: source, alt: name }), make("figcaption", {}, name)));
  },

  glossary(section) {
    return [definitions(section.words)];
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

async function start() {
  const albums = report.sections.flatMap((section) => [section.album, section.grid, section.data].filter(Boolean));
  await Promise.all(albums.map(load));
  const main = document.getElementById("content");
  main.append(make("h1", {}, report.title), make("p", { class: "lead" }, report.lead),
    report.command ? make("p", { class: "lead" }, make("code", {}, report.command)) : "");
  const links = report.sections.map((section, k) => {
    const id = `section-${k + 1}`;
    const parts = KINDS[section.kind](section).filter((part) => part !== null);
    main.append(make("section", { id, "data-kind": section.kind, "aria-labelledby": `${id}-title` }, make("h2", { id: `${id}-title` }, section.title),
      section.text ? make("p", { class: "soft" }, section.text) : null, ...parts));
    return make("li", {}, make("a", { href: `#${id}` }, section.title));
  });
  const map = document.querySelector(".plot");
  if (map) {
    map.id = "map";
    document.querySelector('.skip[href="#map"]').hidden = false;
  }
  document.querySelector("nav").append(make("ol", {}, ...links));
  document.documentElement.dataset.ready = "yes";
}

start();
