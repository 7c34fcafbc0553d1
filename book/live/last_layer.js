// The exact posterior of a network whose last layer is Bayesian and whose features are fixed.
import {
  button, choice, COLOURS, keys, legend, onFrame, plot, row, slider, tick, voice, within,
} from "./kit.js";
import { dot, linearPosterior, normals, QUANTILE, range, tanhFeatures } from "./mathematics.js";

const DRAWS = 10;

export function start(stage, { x, y, slopes, kinks, noise, prior, features }) {
  let points = x.map((v, i) => [v, y[i]]);
  const first = points;
  const inputs = range(121, -3, 3);
  legend(stage, [
    ["area", COLOURS[0], "where the answer lies, 90 %", 0.43],
    ["area", COLOURS[0], "where a new point would lie", 0.15],
  ]);
  const canvas = plot(stage, {
    name: "Data and what the network makes of them: click to add a point, drag or click one to change it",
    x: [-3, 3],
    y: [-3, 3],
    xLabel: "input x",
    yLabel: "output y",
    height: 290,
    hands: true,
  });
  const say = voice(stage);
  const update = onFrame(() => canvas.width && canvas.draw());
  const controls = row(stage);
  const family = choice(controls, "Weights", ["exact posterior", "mean-field"], update);
  const functions = tick(controls, "ten possible functions", false, update);
  const sliders = row(stage);
  const fixed = (digits) => (v) => v.toFixed(digits);
  const sigma = slider(
    sliders,
    { label: "noise σ", min: 0.05, max: 1, log: true, value: noise, format: fixed(2) },
    update,
  );
  const tau = slider(
    sliders,
    { label: "prior scale τ", min: 0.3, max: 10, log: true, value: prior, format: fixed(1) },
    update,
  );
  const units = slider(
    sliders,
    { label: "features", min: 4, max: slopes.length, step: 1, value: features },
    update,
  );
  const buttons = row(stage);
  let seed = 1;
  button(buttons, "Draw ten others", () => {
    seed += 1;
    functions.checked = true;
    update();
  });
  button(buttons, "Clear", () => set([]));
  button(buttons, "Start again", () => set(first));

  function set(next) {
    points = next;
    update();
  }

  // The keyboard's cross; a plot that was never focused has none.
  let cross = null;
  const near = ([px, py]) => {
    const far = (p) => Math.hypot(canvas.X(p[0]) - canvas.X(px), canvas.Y(p[1]) - canvas.Y(py));
    const best = points.reduce((a, p) => (a && far(a) <= far(p) ? a : p), null);
    return best && far(best) < 16 ? best : null;
  };
  const without = (p) => points.filter((q) => q !== p);
  let held = null;
  canvas.root.addEventListener("pointerdown", (event) => {
    const at = canvas.at(event);
    const found = near(at);
    // On a touch screen a finger that moves over empty paper scrolls the page: it adds no point.
    held = { point: found, from: [event.clientX, event.clientY], moved: false };
    if (found) canvas.root.setPointerCapture(event.pointerId);
  });
  canvas.root.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [fx, fy] = held.from;
    held.moved ||= Math.hypot(event.clientX - fx, event.clientY - fy) > 4;
    if (!held.moved || !held.point) return;
    const next = canvas.at(event).map((v) => within(v, -3, 3));
    points = points.map((p) => (p === held.point ? next : p));
    held.point = next;
    update();
  });
  canvas.root.addEventListener("pointercancel", () => (held = null));
  canvas.root.addEventListener("pointerup", (event) => {
    const at = canvas.at(event);
    const inside = at.every((v) => Math.abs(v) <= 3);
    if (held && !held.moved && inside) set(held.point ? without(held.point) : [...points, at]);
    held = null;
  });
  // A finger on a point moves the point and not the page.
  canvas.root.addEventListener("touchstart", (event) => held?.point && event.preventDefault(), {
    passive: false,
  });
  const withCross = (change) => {
    cross ??= [0, 0];
    change();
    update();
  };
  const moved = (step) => cross.map((v, i) => within(v + 0.15 * step[i], -3, 3));
  keys(canvas.root, {
    move: (step) => withCross(() => (cross = moved(step))),
    press: () => withCross(() => (points = [...points, cross])),
    remove: () => withCross(() => (points = without(near(cross)))),
  });
  canvas.root.addEventListener("focus", () => {
    if (canvas.root.matches(":focus-visible")) cross ??= [0, 0];
    update();
  });
  canvas.root.addEventListener("blur", () => {
    cross = null;
    update();
  });

  canvas.draw = () => {
    const used = Math.round(units.value);
    const phi = (v) => tanhFeatures(v, slopes.slice(0, used), kinks.slice(0, used));
    // The prior of each weight shrinks with their number, so that τ is the scale of functions.
    const scales = Array(used + 1).fill(tau.value / Math.sqrt(used));
    scales[0] = 1;
    const rows = points.map((p) => phi(p[0]));
    const q = linearPosterior(
      rows,
      points.map((p) => p[1]),
      scales,
      sigma.value,
    );
    const exact = family.value === "exact posterior";
    const spread = exact ? q.spread : q.independentSpread;
    const all = inputs.map(phi);
    const centre = all.map((f) => dot(f, q.mean));
    const doubt = all.map(spread);
    const band = (key, variances, style) => {
      const half = variances.map((v) => QUANTILE * Math.sqrt(v));
      const [low, high] = [-1, 1].map((sign) => centre.map((m, i) => m + sign * half[i]));
      canvas.band(key, inputs, low, high, style);
      return half;
    };
    band(
      "noisy",
      doubt.map((v) => v + sigma.value ** 2),
      { "fill-opacity": 0.13 },
    );
    const half = band("band", doubt, { "fill-opacity": 0.3 });
    const next = normals(seed);
    for (let s = 0; s < DRAWS; s += 1) {
      const z = next.many(used + 1);
      const w = functions.checked && (exact ? q.draw(z) : q.independentDraw(z));
      const line = w ? all.map((f, i) => [inputs[i], dot(f, w)]) : [];
      canvas.path(`draw ${s}`, line, { stroke: COLOURS[1], "stroke-width": 1 });
    }
    canvas.path(
      "mean",
      centre.map((m, i) => [inputs[i], m]),
      {
        stroke: COLOURS[0],
        "stroke-width": 2.5,
      },
    );
    canvas.dots("points", points, { fill: "currentColor", class: "live-held", r: 5 });
    canvas.path("cross", cross ? crossing(cross) : [], { stroke: "currentColor" });
    say(report((v) => half[Math.round(((v + 3) / 6) * (inputs.length - 1))]));
  };

  function crossing([cx, cy]) {
    return [[cx - 0.15, cy], [cx + 0.15, cy], null, [cx, cy - 0.15], [cx, cy + 0.15]];
  }

  // `widthAt` gives half the width of the band at an input.
  function report(widthAt) {
    const many = points.length === 1 ? "1 point" : `${points.length} points`;
    if (!points.length)
      return "No data: the band is the prior, what is held possible at the start.";
    const ends = [-3, ...points.map((p) => p[0]).sort((a, b) => a - b), 3];
    const gaps = ends.slice(2, -1).map((v, i) => [v - ends[i + 1], (v + ends[i + 1]) / 2]);
    const widest = gaps.reduce((a, g) => (a && a[0] >= g[0] ? a : g), null);
    const surest = Math.min(...points.map((p) => widthAt(within(p[0], -3, 3))));
    const middle = widest ? `, ± ${widthAt(widest[1]).toFixed(2)} in the widest gap` : "";
    return `${many}. The answer is known to ± ${surest.toFixed(2)} at the surest point${middle}.`;
  }
}
