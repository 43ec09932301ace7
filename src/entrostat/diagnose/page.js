"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const REGIONS = ["none", "E1", "E2", "E3", "E4"];
  // by the number that eventOf gives
  const EVENTS = ["kept", "clip-low", "clip-high", "not trained on"];
  const NUMBERS = ["logprob", "entropy", "logratio", "advantage", "low", "high"];
  // Responses whose tokens are drawn with their prompt, without being opened one by one.
  const AT_ONCE = 3000;
  const form = document.getElementById("controls");
  const numbers = document.getElementById("numbers");
  const drawn = [];

  const element = (name, className, text) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // The numbers of a response; entrostat/diagnose/packed.py has the format

  const halfSize = (exponent, fraction) => {
    if (exponent === 31) return fraction ? NaN : Infinity;
    if (exponent === 0) return fraction * 2 ** -24;
    return (1 + fraction / 1024) * 2 ** (exponent - 15);
  };

  // The value of every half-precision number, by its bits: browsers have no such array yet.
  const halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const size = halfSize((bits >> 10) & 31, bits & 1023);
    halves[bits] = bits & 32768 ? -size : size;
  }

  const eventOf = (flags) => {
    if (!(flags & 1)) return 3;
    if (flags & 2) return 1;
    return flags & 4 ? 2 : 0;
  };

  const unpack = ({data: packed, shown: n}) => {
    const text = atob(packed);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const view = new DataView(bytes.buffer);
    // where each column starts
    const changes = 4 * n, numbers = 8 * n, flags = bytes.subarray(8 * n + 2 * NUMBERS.length * n);
    const half = (column, i) => halves[view.getUint16(numbers + 2 * (column * n + i), true)];
    return {
      n,
      token: (i) => data.texts[view.getUint32(4 * i, true)],
      change: (i) => view.getFloat32(changes + 4 * i, true) * data.unit,
      number: (name, i) => half(NUMBERS.indexOf(name), i),
      trained: (i) => (flags[i] & 1) === 1,
      event: (i) => eventOf(flags[i]),
      region: (i) => flags[i] >> 3,
    };
  };

  const digits = (x) => {
    if (Number.isNaN(x)) return "not known";
    if (Number.isFinite(x)) return String(+x.toPrecision(3));
    return x > 0 ? "inf" : "-inf";
  };
  const signed = (x) => (x > 0 ? "+" : "") + digits(x);
  const words = ([id, text]) => (text === null ? `token ${id}` : `“${text}”`);

  const about = (response, i) => {
    const facts = [["token", words(response.token(i))], ["id", String(response.token(i)[0])], ["position", String(i + 1)]];
    if (response.trained(i)) {
      const number = (name) => response.number(name, i);
      facts.push(
        ["event", EVENTS[response.event(i)]],
        ["region", REGIONS[response.region(i)]],
        ["entropy", digits(number("entropy"))],
        [response.event(i) ? "change held back" : "entropy change", signed(response.change(i))],
        ["ratio", digits(Math.exp(number("logratio")))],
        ["window", `${digits(1 - number("low"))} to ${digits(1 + number("high"))}`],
        ["advantage", signed(number("advantage"))],
        ["probability", digits(Math.exp(number("logprob")))],
        ["ln p", digits(number("logprob"))],
      );
    } else facts.push(["event", EVENTS[3]]);
    return facts;
  };

  // Shades

  const STEPS = {entropy: 6, change: 4, ratio: 4};
  const level = (shade, response, i) => {
    if (shade === "entropy") {
      const x = response.number("entropy", i) / data.scale.entropy;
      return Number.isNaN(x) ? "u" : `s${Math.max(0, Math.min(STEPS.entropy, Math.round(x * STEPS.entropy)))}`;
    }
    const x = shade === "change" ? response.change(i) / data.scale.change : response.number("logratio", i) / data.scale.ratio;
    if (Number.isNaN(x)) return "u";
    // the root spreads out changes, most of which are small beside the largest
    const size = Math.min(4, Math.round(4 * (shade === "change" ? Math.sqrt(Math.abs(x)) : Math.abs(x))));
    return size ? `${x < 0 ? "n" : "p"}${size}` : "d0";
  };

  const legend = (shade) => {
    const place = document.getElementById("legend");
    place.replaceChildren();
    const add = (name, text) => place.append(element("span", name, text));
    if (shade === "entropy") {
      for (let i = 0; i <= 6; i++) add(`s${i}`, i % 2 ? "\u2003" : digits((data.scale.entropy * i) / 6));
      return;
    }
    const ends = shade === "change" ? (x) => signed(data.scale.change * x * x * Math.sign(x)) : (x) => digits(Math.exp(data.scale.ratio * x));
    for (let i = -4; i <= 4; i++) add(i ? `${i < 0 ? "n" : "p"}${Math.abs(i)}` : "d0", i % 2 ? "\u2003" : ends(i / 4));
  };

  const chosen = () => ({
    shade: form.elements.shade.value,
    regions: new Set([...form.querySelectorAll("[name=region]:checked")].map((box) => +box.value)),
    events: new Set([...form.querySelectorAll("[name=event]:checked")].map((box) => +box.value)),
  });

  const matches = ({regions, events}, response, i) =>
    events.has(response.event(i)) && (!response.trained(i) || regions.has(response.region(i)));

  const paint = ({spans, response}, choice) => {
    let matching = 0;
    for (let i = 0; i < spans.length; i++) {
      const trained = response.trained(i), matched = matches(choice, response, i);
      matching += matched;
      const mark = response.event(i) === 1 ? " lo" : response.event(i) === 2 ? " hi" : "";
      spans[i].className = `t ${trained ? level(choice.shade, response, i) : "u"}${mark}${matched ? "" : " off"}`;
    }
    return matching;
  };

  const repaint = () => {
    const choice = chosen();
    let matching = 0, all = 0;
    for (const each of drawn) {
      matching += paint(each, choice);
      all += each.spans.length;
    }
    const open = drawn.length === 1 ? "1 open response" : `${drawn.length} open responses`;
    document.getElementById("count").textContent = `${matching.toLocaleString("en")} of ${all.toLocaleString("en")} tokens match, in ${open}.`;
  };

  // A response: a list of tokens, of which one is in the tab order

  const show = (facts) => {
    numbers.hidden = false;
    numbers.firstElementChild.replaceChildren(...facts.map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", "", name), element("dd", "", value));
      return pair;
    }));
  };

  const draw = (response, name) => {
    const list = element("div", "tokens");
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-orientation", "horizontal");
    list.setAttribute("aria-label", `Tokens of ${name}`);
    list.setAttribute("aria-describedby", "keys");
    const spans = [];
    for (let i = 0; i < response.n; i++) {
      const [id, text] = response.token(i);
      const span = element("span", "t", text === null ? `${id} ` : text === "" ? "∅" : text);
      span.setAttribute("role", "option");
      span.tabIndex = i ? -1 : 0;
      spans.push(span);
      list.append(span);
      if (text !== null && text.endsWith("\\n")) list.append(element("br"));
    }
    const at = (node) => spans.indexOf(node.closest(".t"));
    let current = 0;
    const describe = (i) => spans[i].setAttribute("aria-label", about(response, i).map(([key, value]) => `${key} ${value}`).join(", "));
    const go = (i) => {
      if (i < 0 || i >= spans.length) return;
      spans[current].tabIndex = -1;
      current = i;
      spans[i].tabIndex = 0;
      describe(i);
      spans[i].focus();
    };
    const clipped = (step) => {
      let i = current + step;
      while (i >= 0 && i < spans.length && ![1, 2].includes(response.event(i))) i += step;
      return i;
    };
    const keys = {
      ArrowRight: () => current + 1, ArrowLeft: () => current - 1, ArrowDown: () => clipped(1), ArrowUp: () => clipped(-1),
      Home: () => 0, End: () => spans.length - 1,
    };
    list.addEventListener("keydown", (event) => {
      if (!(event.key in keys) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      go(keys[event.key]());
    });
    list.addEventListener("pointerover", ({target}) => {
      if (target.closest(".t")) show(about(response, at(target)));
    });
    list.addEventListener("focusin", ({target}) => {
      const i = at(target);
      if (i < 0) return;
      spans[current].tabIndex = -1;
      current = i;
      spans[i].tabIndex = 0;
      describe(i);
      show(about(response, i));
    });
    list.addEventListener("click", ({target}) => { if (target.closest(".t")) go(at(target)); });
    drawn.push({spans, response});
    paint(drawn.at(-1), chosen());
    return list;
  };

  // Prompts, drawn when they are opened

  const title = (response) => {
    const parts = [data.grouped ? `response ${response.sample}` : "tokens"];
    if (response.update !== null) parts.push(`update ${response.update}`);
    if (response.reward !== null) parts.push(`reward ${digits(response.reward)}`);
    parts.push(response.shown < response.tokens ? `the first ${response.shown} of ${response.tokens} tokens` : `${response.tokens} tokens`);
    return parts.join(", ");
  };

  const once = (details, action) => {
    let done = false;
    const run = () => {
      if (!details.open || done) return;
      done = true;
      action();
    };
    details.addEventListener("toggle", run);
    return run;
  };

  const responseOf = (packed, open) => {
    const details = element("details", "response");
    details.append(element("summary", "", title(packed)));
    const run = once(details, () => {
      details.append(draw(unpack(packed), title(packed)));
      repaint();
    });
    details.open = open;
    run();
    return details;
  };

  const promptOf = (prompt, open) => {
    const details = element("details", "prompt");
    const place = `${data.paths > 1 ? `path ${prompt.path + 1}, ` : ""}rollout ${prompt.step}, ${data.grouped ? "prompt" : "completion"} ${prompt.group}`;
    const moved = prompt.change === null ? "" : `: change ${signed(prompt.change)}`;
    const some = prompt.responses.length < prompt.all ? `, ${prompt.responses.length} of ${prompt.all} responses` : "";
    details.append(element("summary", "", place + moved + some));
    const run = once(details, () => {
      if (prompt.text !== null) details.append(element("pre", "", prompt.text));
      let budget = AT_ONCE;
      for (const packed of prompt.responses) {
        details.append(responseOf(packed, budget > 0));
        budget -= packed.shown;
      }
    });
    details.open = open;
    run();
    return details;
  };

  const prompts = document.getElementById("prompts");
  prompts.append(...data.prompts.map((prompt, i) => promptOf(prompt, i === 0)));
  form.hidden = false;
  legend(form.elements.shade.value);
  repaint();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    legend(form.elements.shade.value);
    repaint();
  });
  document.documentElement.dataset.drawn = "true";
})();
