"use strict";
(() => {
  const {figures, places, titles} = JSON.parse(document.getElementById("figures").textContent);
  if (typeof Plotly === "undefined") {
    const lost = document.getElementById("lost");
    if (lost) lost.hidden = false;
    return;
  }
  const controls = document.getElementById("controls");
  const axis = document.getElementById("axis");
  const smooth = document.getElementById("smooth");
  const boxes = [...document.querySelectorAll("#toggles input")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 45rem)");
  // Where a finger scrolls the page, a drag across a figure must not zoom it.
  const touch = matchMedia("(pointer: coarse)");
  const options = {
    responsive: true,
    displaylogo: false,
    // All buttons there are. plotly.js 4 adds one by default that uploads the figure; a report sends nothing anywhere.
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "resetScale2d"]],
    showSendToCloud: false,
  };

  const shown = (group) => boxes.find((box) => box.dataset.group === group)?.checked ?? true;

  // Colours written var(--name) are those of the page, as its style sheet has them now.
  const coloured = (node, style) => {
    if (Array.isArray(node)) return node.map((each) => coloured(each, style));
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(Object.entries(node).map(([key, value]) => {
      const name = /color$/i.test(key) && typeof value === "string" && /^var\((--\w+)\)$/.exec(value);
      return [key, name ? style.getPropertyValue(name[1]).trim() : coloured(value, style)];
    }));
  };

  const selects = [...document.querySelectorAll("select[data-figure]")];
  // What of a figure with several states the reader has picked.
  const picked = ({key, choices}) => choices[selects.find((each) => each.dataset.figure === key)?.value] ?? {};

  // Points of which each is the mean; anything that is no number from 1 up is 1.
  const width = () => Math.max(1, Math.round(smooth.valueAsNumber) || 1);

  // Each value's mean over the width values around it, fewer at the ends; a gap stays one.
  const means = (values, width) => {
    const before = Math.floor((width - 1) / 2);
    return values.map((value, i) => {
      if (value === null) return null;
      const near = values.slice(Math.max(0, i - before), i - before + width).filter((each) => each !== null);
      return near.reduce((sum, each) => sum + each, 0) / near.length;
    });
  };

  // The trace over the picked axis; none where its log does not have that.
  const placed = (trace) => {
    if (axis.value === "steps") return [trace];
    const line = places[trace.meta.at];
    if (!line[axis.value]) return [];
    const at = new Map(line.steps.map((step, i) => [step, line[axis.value][i]]));
    return [{...trace, x: trace.x.map((step) => at.get(step) ?? null)}];
  };

  // The trace smoothed, and behind it what was logged, which is left out of a seed's thin line.
  const smoothed = (trace) => {
    if (width() === 1 || !trace.meta.smooth) return [trace];
    const name = `${trace.name}, mean of ${width()}`;
    const strong = {...trace, name, y: means(trace.y, width())};
    if (trace.line.width === 1) return [strong];
    const line = {...trace.line, width: 1};
    const faint = {mode: "lines", opacity: 0.35, hoverinfo: "skip", hovertemplate: "", showlegend: false};
    return [{...trace, ...faint, line}, strong];
  };

  // A curve figure's layout over the picked axis. A zoom is kept while the axis is.
  const over = (layout) => {
    const changed = {...layout, uirevision: axis.value};
    for (const [key, each] of Object.entries(layout)) {
      if (key.startsWith("xaxis") && each.title.text) {
        changed[key] = {...each, title: {...each.title, text: titles[axis.value]}};
      }
    }
    return changed;
  };

  const say = () => {
    for (const notice of document.querySelectorAll("[data-axis]")) notice.hidden = notice.dataset.axis !== axis.value;
    for (const entry of document.querySelectorAll("[data-smoothed]")) entry.hidden = width() === 1;
    for (const entry of document.querySelectorAll("[data-smoothed] output")) entry.textContent = width();
    for (const key of document.querySelectorAll(".key")) key.hidden = !key.querySelector("li:not([hidden])");
  };

  const draw = (figure) => {
    const {key, isCurves} = figure;
    const choice = picked(figure);
    const drawn = choice.data ?? figure.data;
    const data = isCurves ? drawn.flatMap(placed).flatMap(smoothed) : drawn;
    const small = isCurves ? over(figure.narrow) : figure.narrow;
    const layout = {...(isCurves ? over(figure.layout) : figure.layout), ...choice.layout};
    if (choice.alt) document.getElementById(key).setAttribute("aria-label", choice.alt);
    const style = getComputedStyle(document.documentElement);
    // plotly.js gets no meta: with one it would take a %{...} in a run's name for a template.
    const traces = coloured(data, style).map(
      ({meta, ...trace}) => ({...trace, visible: shown(trace.legendgroup) ? true : "legendonly"}),
    );
    const whole = {...layout, ...(narrow.matches ? small : {}), dragmode: touch.matches ? false : "zoom"};
    return Plotly.react(key, traces, coloured(whole, style), options);
  };
  const drawAll = () => {
    if (controls) say();
    return Promise.all(figures.map(draw));
  };

  const toggle = (group) => {
    const box = boxes.find((each) => each.dataset.group === group);
    if (box) box.checked = !box.checked;
  };
  const isolate = (group) => {
    const alone = boxes.every((box) => box.checked === (box.dataset.group === group));
    boxes.forEach((box) => { box.checked = alone || box.dataset.group === group; });
  };
  const onLegend = (change) => ({data, curveNumber}) => {
    change(data[curveNumber].legendgroup);
    drawAll();
    return false; // the page's own boxes decide what is visible, in all figures at once
  };

  drawAll().then(() => {
    for (const {key} of figures) {
      const plot = document.getElementById(key);
      plot.on("plotly_legendclick", onLegend(toggle));
      plot.on("plotly_legenddoubleclick", onLegend(isolate));
    }
    if (controls) controls.hidden = false;
    controls?.addEventListener("change", drawAll);
    for (const select of selects) {
      select.closest("p").hidden = false;
      select.addEventListener("change", () => draw(figures.find(({key}) => key === select.dataset.figure)));
    }
    for (const query of [dark, narrow, touch]) query.addEventListener("change", drawAll);
    document.documentElement.dataset.drawn = "true";
  });
})();
