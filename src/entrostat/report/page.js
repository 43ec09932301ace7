"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const toggles = document.getElementById("toggles");
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

  const draw = (figure) => {
    const {key, narrow: small} = figure;
    const choice = picked(figure);
    const data = choice.data ?? figure.data;
    const layout = {...figure.layout, ...choice.layout};
    if (choice.alt) document.getElementById(key).setAttribute("aria-label", choice.alt);
    const style = getComputedStyle(document.documentElement);
    const traces = coloured(data, style).map(
      (trace) => ({...trace, visible: shown(trace.legendgroup) ? true : "legendonly"}),
    );
    const whole = {...layout, ...(narrow.matches ? small : {}), dragmode: touch.matches ? false : "zoom"};
    return Plotly.react(key, traces, coloured(whole, style), options);
  };
  const drawAll = () => Promise.all(figures.map(draw));

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
    if (toggles) toggles.hidden = false;
    toggles?.addEventListener("change", drawAll);
    for (const select of selects) {
      select.closest("p").hidden = false;
      select.addEventListener("change", () => draw(figures.find(({key}) => key === select.dataset.figure)));
    }
    for (const query of [dark, narrow, touch]) query.addEventListener("change", drawAll);
    document.documentElement.dataset.drawn = "true";
  });
})();
