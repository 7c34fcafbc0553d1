// What all live figures share: axes, controls, a voice, one way to redraw. Colours are those of
// bnnbook/figures.py, legible on both themes; letters and lines take the page's own colour.

export const COLOURS = ["#3a82c4", "#d1700a", "#1f9a6d", "#b35fa0", "#7f858d"];
// A colour's red, green and blue, between 0 and 255.
export const rgb = (hue) => [1, 3, 5].map((i) => parseInt(hue.slice(i, i + 2), 16));
const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 58, right: 12, top: 10, bottom: 44 };
let count = 0;

// An HTML element: attributes by name, event listeners as `onclick`, then its children.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawn(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Calls a function once before the next picture, however often it is asked to.
export function onFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export const within = (v, low, high) => Math.max(low, Math.min(high, v));

// The keyboard in a plot: the arrows as steps (right and up are more), enter or space, delete.
export function keys(target, { move, press, remove }) {
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const others = { Enter: press, " ": press, Delete: remove, Backspace: remove };
  target.addEventListener("keydown", (event) => {
    const step = arrows[event.key];
    const action = step ? () => move(step) : others[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

// Nice values between two ends, about `wanted` of them.
export function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => +((first + i) * step).toPrecision(12));
}

// A line of controls or of pictures; it wraps on a phone.
export function row(parent, kind = "live-controls") {
  const made = element("div", { class: kind });
  parent.append(made);
  return made;
}

// What the colours mean: pairs of a look (a class of live.css, a colour) and words.
export function legend(parent, entries) {
  const made = row(parent, "live-legend");
  for (const [look, hue, words, shade] of entries) {
    const sign = element("i", { class: look, style: `--hue: ${hue}; --shade: ${shade ?? 0.35}` });
    made.append(element("span", {}, sign, words));
  }
  return made;
}

// Says what one sees: a line of text for all, repeated to screen readers once it has settled.
export function voice(parent) {
  const seen = element("p", { class: "live-says", "aria-hidden": "true" });
  const heard = element("p", { class: "live-heard", role: "status" });
  parent.append(seen, heard);
  let timer;
  return (text) => {
    if (seen.textContent === text) return;
    seen.textContent = text;
    clearTimeout(timer);
    timer = setTimeout(() => (heard.textContent = text), 500);
  };
}

export function button(parent, label, action) {
  const made = element("button", { type: "button", class: "live-button", onclick: action }, label);
  parent.append(made);
  return made;
}

// A box to tick; returns the input.
export function tick(parent, label, checked, change) {
  const input = element("input", { type: "checkbox", onchange: () => change(input.checked) });
  input.checked = checked;
  parent.append(element("label", { class: "live-tick" }, input, label));
  return input;
}

// One of several; returns an object whose value can be read and set.
export function choice(parent, label, options, change) {
  const group = `live-${(count += 1)}`;
  const inputs = options.map((option) =>
    element("input", { type: "radio", name: group, value: option, onchange: () => change(option) }),
  );
  inputs[0].checked = true;
  const set = element("fieldset", { class: "live-choice" }, element("legend", {}, label));
  for (const input of inputs)
    set.append(element("label", {}, input, element("span", {}, input.value)));
  parent.append(set);
  return {
    get value() {
      return inputs.find((input) => input.checked).value;
    },
    set value(option) {
      inputs.find((input) => input.value === option).checked = true;
    },
  };
}

// A slider over [min, max], even in the logarithm if `log`; returns an object with a value.
export function slider(parent, { label, min, max, step, value, log, format = String }, change) {
  const [to, from] = log ? [Math.log, Math.exp] : [(v) => v, (v) => v];
  const shown = element("output", {});
  const input = element("input", {
    type: "range",
    min: to(min),
    max: to(max),
    step: step ?? "any",
  });
  const show = () => {
    shown.textContent = format(from(+input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => {
    show();
    change();
  });
  input.setAttribute("aria-label", label);
  const head = element("span", { "aria-hidden": "true" }, `${label} `, shown);
  parent.append(element("label", { class: "live-slider" }, head, input));
  const made = {
    input,
    get value() {
      return from(+input.value);
    },
    set value(v) {
      input.value = to(v);
      show();
    },
  };
  made.value = value;
  return made;
}

// Paints a square image, row by row from 0 (white) to `black`, on a canvas of as many pixels.
export function paint(canvas, values, black) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  values.forEach((v, k) => image.data.set([...Array(3).fill(255 - (255 * v) / black), 255], 4 * k));
  context.putImageData(image, 0, 0);
}

// A small picture with words under it; `spoken` are those for a screen reader.
export function picture(values, black, words, spoken = words) {
  const side = Math.sqrt(values.length);
  const canvas = element("canvas", { width: side, height: side, role: "img", "aria-label": spoken });
  paint(canvas, values, black);
  return element("figure", {}, canvas, element("small", { "aria-hidden": "true" }, words));
}

// Axes that fill their parent's width. The figure sets `draw`, which is called at every new size;
// between calls it keeps its shapes under names: `path`, `dots`, `label`.
export function plot(parent, { name, x, y, xLabel, yLabel, height = 300, xTicks, yTicks, hands }) {
  const root = drawn("svg", { class: "live-plot", "aria-label": name });
  // A plot to work in takes the keyboard; one to look at is a picture.
  if (hands) root.setAttribute("tabindex", "0");
  root.setAttribute("role", hands ? "application" : "img");
  const axes = drawn("g", { class: "live-axes" });
  const clip = `live-${(count += 1)}`;
  const clipping = drawn("clipPath", { id: clip });
  const inside = drawn("rect");
  clipping.append(inside);
  const shapes = drawn("g", { "clip-path": `url(#${clip})` });
  root.append(clipping, axes, shapes);
  const holder = element("div", { class: "live-holder" });
  const under = element("canvas", { class: "live-under" });
  holder.append(under, root);
  parent.append(holder);

  const kept = new Map();
  const made = { root, x, y, width: 0, height, draw: () => {} };
  const scale = (v, [low, high], from, to) => from + ((v - low) / (high - low)) * (to - from);
  made.X = (v) => scale(v, made.x, MARGIN.left, made.width - MARGIN.right);
  made.Y = (v) => scale(v, made.y, height - MARGIN.bottom, MARGIN.top);
  // Where in the axes an event is.
  made.at = (event) => {
    const box = root.getBoundingClientRect();
    return [
      scale(event.clientX - box.left, [MARGIN.left, made.width - MARGIN.right], ...made.x),
      scale(event.clientY - box.top, [height - MARGIN.bottom, MARGIN.top], ...made.y),
    ];
  };

  function shape(key, tag, style) {
    if (!kept.has(key)) kept.set(key, shapes.appendChild(drawn(tag)));
    const one = kept.get(key);
    for (const [attribute, value] of Object.entries(style)) one.setAttribute(attribute, value);
    return one;
  }
  // A line through points; null lifts the pen.
  made.path = (key, points, style = {}) => {
    let d = "";
    let pen = "M";
    for (const point of points) {
      if (point) d += `${pen}${made.X(point[0]).toFixed(1)} ${made.Y(point[1]).toFixed(1)}`;
      pen = point ? "L" : "M";
    }
    return shape(key, "path", { fill: "none", d, ...style });
  };
  made.band = (key, xs, low, high, style = {}) =>
    made.path(
      key,
      [...xs.map((v, i) => [v, high[i]]), ...xs.map((v, i) => [v, low[i]]).reverse()],
      { fill: COLOURS[0], "fill-opacity": 0.22, ...style },
    );
  // A level line from one end of the axes to the other, and a bar that stands on zero.
  made.level = (key, v, style) => made.path(key, made.x.map((end) => [end, v]), style);
  made.bar = (key, [left, right], top, style) =>
    made.path(key, [[left, 0], [left, top], [right, top], [right, 0]], style);
  made.dots = (key, points, style = {}) => {
    const group = shape(key, "g", style);
    while (group.childElementCount > points.length) group.lastChild.remove();
    while (group.childElementCount < points.length) group.append(drawn("circle"));
    points.forEach(([px, py], i) => {
      group.children[i].setAttribute("cx", made.X(px).toFixed(1));
      group.children[i].setAttribute("cy", made.Y(py).toFixed(1));
      group.children[i].setAttribute("r", style.r ?? 5);
    });
    return group;
  };
  // A map under the shapes: `paint` gives the colour of column i and row j (from below), each of its
  // four parts between 0 and 255; what shows through is the page.
  made.map = (columns, rows, colour) => {
    [under.width, under.height] = [columns, rows];
    const context = under.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let j = 0; j < rows; j += 1) {
      for (let i = 0; i < columns; i += 1) {
        image.data.set(colour(i, j), 4 * ((rows - 1 - j) * columns + i));
      }
    }
    context.putImageData(image, 0, 0);
  };
  made.label = (key, px, py, text, style = {}) => {
    const one = shape(key, "text", {
      x: made.X(px),
      y: made.Y(py),
      fill: "currentColor",
      ...style,
    });
    one.textContent = text;
    return one;
  };

  function paint() {
    if (!made.width) return;
    root.setAttribute("viewBox", `0 0 ${made.width} ${height}`);
    root.setAttribute("width", made.width);
    root.setAttribute("height", height);
    const [left, right] = [MARGIN.left, made.width - MARGIN.right];
    const [top, bottom] = [MARGIN.top, height - MARGIN.bottom];
    const box = { x: left, y: top, width: right - left, height: bottom - top };
    for (const [attribute, value] of Object.entries(box)) inside.setAttribute(attribute, value);
    const place = { left, top, width: box.width, height: box.height };
    for (const [side, value] of Object.entries(place)) under.style[side] = `${value}px`;
    axes.replaceChildren(drawn("path", { d: `M${left} ${top}V${bottom}H${right}` }));
    const write = (text, attributes) => {
      const one = drawn("text", attributes);
      one.textContent = text;
      axes.append(one);
    };
    const across = xTicks?.() ?? ticks(...made.x, box.width / 60).map((v) => [v, v]);
    for (const [v, text] of across) {
      axes.append(drawn("path", { d: `M${made.X(v)} ${bottom}v4` }));
      write(`${text}`.replace("-", "−"), { x: made.X(v), y: bottom + 18, "text-anchor": "middle" });
    }
    const up = yTicks?.() ?? ticks(...made.y, box.height / 50).map((v) => [v, v]);
    for (const [v, text] of up) {
      axes.append(drawn("path", { d: `M${left} ${made.Y(v)}h-4` }));
      write(`${text}`.replace("-", "−"), { x: left - 7, y: made.Y(v) + 4, "text-anchor": "end" });
    }
    write(xLabel, { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" });
    const turned = `rotate(-90 13 ${(top + bottom) / 2})`;
    write(yLabel, { x: 13, y: (top + bottom) / 2, transform: turned, "text-anchor": "middle" });
  }
  // New ends of the axes; the figure then draws anew.
  made.span = (across, up) => {
    if (`${[made.x, made.y]}` === `${[across, up]}`) return;
    [made.x, made.y] = [across, up];
    paint();
  };
  new ResizeObserver(() => {
    const width = Math.floor(holder.clientWidth);
    if (width > 0 && width !== made.width) {
      made.width = width;
      paint();
      made.draw();
    }
  }).observe(holder);
  return made;
}
