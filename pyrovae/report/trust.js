// How far to trust the guide, and the estimates of the evidence, as words, bars and intervals.

// Good, not good, or not to be told from so few data points or draws.
const VERDICTS = { true: ["good", "✓ good"], false: ["bad", "⚠ take care"], null: ["unknown", "? cannot tell"] };

function checks(section) {
  const rows = section.checks.map((check) => make("div", { class: "check" },
    make("div", { class: "head" }, make("span", { class: `verdict ${VERDICTS[check.good][0]}` }, VERDICTS[check.good][1]),
      make("b", {}, check.name), make("span", { class: "value" }, check.number.replaceAll("-", "−"))),
    make("p", {}, check.verdict)));
  const absent = Object.fromEntries(section.absent.map(({ name, reason }) => [name, reason]));
  return [make("div", {}, ...rows),
    section.absent.length ? make("details", {}, make("summary", {}, "not measured"), definitions(absent)) : null,
    section.bars.length ? make("div", { class: "charts" }, ...section.bars.map(bars)) : null];
}

function bars(chart) {
  const [width, height, left, bottom, top] = [420, 160, 46, 30, 8];
  const high = Math.max(...chart.values, ...(chart.marks || []), chart.level || 0) || 1;
  const step = (width - left - 4) / chart.values.length;
  const y = (value) => height - bottom - ((height - top - bottom) * value) / high;
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": chart.words });
  const ticks = nice(0, high, 3);
  const texts = tickTexts(ticks, high);
  ticks.forEach((tick, k) => plot.append(svg("line", { class: "axis", x1: left, x2: width, y1: y(tick), y2: y(tick) }),
    svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, texts[k])));
  const longest = Math.max(...chart.names.map((name) => name.length));
  const every = Math.ceil((chart.values.length * (8 * longest + 8)) / (width - left));
  chart.values.forEach((value, k) => {
    const bar = svg("rect", { x: left + k * step + 1, width: Math.max(1, step - 2), y: y(value), height: height - bottom - y(value), fill: colour(0) });
    bar.append(svg("title", {}, `${chart.names[k]}: ${number(value)}`));
    plot.append(bar);
    if (k % every === 0) plot.append(svg("text", { x: left + (k + 0.5) * step, y: height - bottom + 15, "text-anchor": "middle" }, chart.names[k]));
  });
  (chart.marks || []).forEach((mark, k) => plot.append(svg("line", { x1: left + k * step, x2: left + (k + 1) * step, y1: y(mark), y2: y(mark), stroke: colour(4), "stroke-width": 1.5 })));
  if (chart.level) plot.append(svg("line", { x1: left, x2: width, y1: y(chart.level), y2: y(chart.level), stroke: colour(4), "stroke-dasharray": "5 3", "stroke-width": 1.5 }));
  return make("figure", { class: "chart" }, make("h3", {}, chart.title), plot, make("figcaption", {}, chart.words));
}

const whiskers = (from, to, y) => `M${from},${y - 8}v16M${from},${y}H${to}M${to},${y - 8}v16`;

function estimates(section) {
  return section.groups.flatMap(({ title, rows }) => [title ? make("h3", {}, title) : null, intervals(rows), listing(section.title, rows)]);
}

function intervals(all) {
  const rows = all.filter((row) => row.value !== null);
  const [width, left, right, line] = [420, 12, 24, 46];
  const height = rows.length * line + 30;
  const ends = rows.flatMap((row) => [row.value - 2 * row.error, row.value + 2 * row.error]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const pad = 0.06 * (high - low) || 1;
  const x = (value) => left + ((width - left - right) * (value - low + pad)) / (high - low + 2 * pad);
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": rows.map((row) => `${row.name}: ${fixed(row.value, decimals(row.error))} ± ${errorText(row.error)}`).join("; ") });
  const ticks = nice(low - pad, high + pad, 4);
  const texts = tickTexts(ticks, high);
  ticks.forEach((tick, k) => plot.append(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: 0, y2: height - 24 }),
    svg("text", { x: x(tick), y: height - 8, "text-anchor": "middle" }, texts[k])));
  rows.forEach((row, k) => {
    const y = line * (k + 0.68);
    plot.append(svg("text", { x: left, y: y - 14 }, row.name),
      svg("circle", { cx: x(row.value), cy: y, r: 4, fill: colour(0) }),
      svg("path", { d: whiskers(x(row.value - 2 * row.error), x(row.value + 2 * row.error), y), stroke: colour(0), "stroke-width": 1.5, fill: "none" }));
  });
  return rows.length > 1 ? make("figure", { class: "chart" }, plot) : null;
}

function listing(title, rows) {
  const columns = [["nats per data point", (row) => fixed(row.value, decimals(row.error))], ["± standard error", (row) => errorText(row.error)],
    ["effective sample size", (row) => number(row.effective_sample_size, 3)], ["seconds", (row) => number(row.seconds, 2)]]
    .filter(([, cell]) => rows.some((row) => cell(row) !== "–"));
  const noted = rows.some((row) => row.note);
  const head = make("tr", {}, make("th", { scope: "col" }, "estimate"),
    ...columns.map(([name]) => make("th", { scope: "col", class: "number" }, name)), noted ? make("th", { scope: "col" }, "note") : "");
  const body = rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.name),
    ...columns.map(([, cell]) => make("td", { class: "number" }, cell(row))), noted ? make("td", {}, row.note) : ""));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
    make("table", { class: "wide" }, make("thead", {}, head), make("tbody", {}, ...body)));
}
