// Wines arrive one by one: the posterior of an intercept and a slope, as weights and as lines.
import {
  button, COLOURS, keys, legend, onFrame, plot, rgb, row, slider, voice, within,
} from "./kit.js";
import { gridPosterior, linearPosterior, normals, QUANTILE, range } from "./mathematics.js";

const SITES = range(81, -2, 2); // of the grid, for either weight
const LINES = 12;

export function start(stage, { alcohol, grade, centre, spread, prior, noise, seen }) {
  const x = alcohol.map((v) => (v - centre) / spread);
  const along = range(61, 8, 14.5);
  legend(stage, [
    ["area", COLOURS[0], "posterior on a grid", 0.5],
    ["thin", "currentColor", "and in closed form: half and nine tenths of it"],
    ["dot", COLOURS[1], "one pair of weights, and its line"],
  ]);
  const panels = row(stage, "live-panels");
  const weights = plot(panels, {
    name: "Weights: intercept and slope; choose a pair with a click or the arrow keys",
    x: [-2, 2],
    y: [-2, 2],
    xLabel: "intercept (grades)",
    yLabel: "slope (grades per sd)",
    hands: true,
  });
  const lines = plot(panels, {
    name: "The same posterior as lines: grade against alcohol, with the wines seen so far",
    x: [8, 14.5],
    y: [-4, 4],
    xLabel: "alcohol (% by volume)",
    yLabel: "grade above average",
  });
  const say = voice(stage);
  const update = onFrame(() => weights.width && lines.width && draw());
  const sliders = row(stage);
  const wines = slider(
    sliders,
    { label: "wines", min: 0, max: x.length, step: 1, value: seen },
    update,
  );
  const fixed = (v) => v.toFixed(2);
  const tau = slider(
    sliders,
    { label: "prior scale τ", min: 0.1, max: 3, log: true, value: prior, format: fixed },
    update,
  );
  const sigma = slider(
    sliders,
    { label: "noise scale σ", min: 0.2, max: 2, log: true, value: noise, format: fixed },
    update,
  );
  const buttons = row(stage);
  const taste = (n) => {
    wines.value = n;
    update();
  };
  button(buttons, "One more wine", () => taste(Math.min(wines.value + 1, x.length)));
  button(buttons, "Forget all wines", () => taste(0));

  let chosen = [0.4, 0.9];
  const choose = (next) => {
    chosen = next.map((v) => within(v, -2, 2));
    update();
  };
  const root = weights.root;
  root.classList.add("live-held");
  root.addEventListener("pointerdown", (event) => {
    root.setPointerCapture(event.pointerId);
    choose(weights.at(event));
  });
  root.addEventListener("pointermove", (event) => event.buttons && choose(weights.at(event)));
  keys(root, { move: (step) => choose(chosen.map((v, i) => v + 0.05 * step[i])) });

  function draw() {
    const n = wines.value;
    const [xs, ys] = [x.slice(0, n), grade.slice(0, n)];
    const q = linearPosterior(
      xs.map((v) => [1, v]),
      ys,
      [tau.value, tau.value],
      sigma.value,
    );
    const grid = gridPosterior(xs, ys, SITES, tau.value, sigma.value);
    weights.map(SITES.length, SITES.length, (i, j) => [
      ...rgb(COLOURS[0]),
      200 * grid.weights[j * SITES.length + i],
    ]);
    for (const inside of [0.5, 0.9]) {
      const radius = Math.sqrt(-2 * Math.log(1 - inside));
      const ellipse = range(61, 0, 2 * Math.PI).map((angle) =>
        q.draw([radius * Math.cos(angle), radius * Math.sin(angle)]),
      );
      weights.path(`inside ${inside}`, ellipse, { stroke: "currentColor" });
    }
    weights.dots("chosen", [chosen], { fill: COLOURS[1], r: 7 });

    const place = along.map((v) => [1, (v - centre) / spread]);
    const middle = place.map(([, v]) => q.mean[0] + v * q.mean[1]);
    const half = place.map((phi) => QUANTILE * Math.sqrt(q.spread(phi) + sigma.value ** 2));
    const edge = (sign) => middle.map((m, i) => m + sign * half[i]);
    lines.band("band", along, edge(-1), edge(1));
    const next = normals(3);
    const line = (w) => [8, 14.5].map((v) => [v, w[0] + (w[1] * (v - centre)) / spread]);
    for (let s = 0; s < LINES; s += 1) {
      lines.path(`line ${s}`, line(q.draw(next.many(2))), { stroke: COLOURS[4] });
    }
    lines.dots(
      "wines",
      xs.map((v, i) => [alcohol[i], ys[i]]),
      { fill: "currentColor", r: 3.5 },
    );
    lines.path("chosen", line(chosen), { stroke: COLOURS[1], "stroke-width": 2.5 });
    say(report(n, q, grid));
  }

  function report(n, q, grid) {
    const z = q.draw([0, 1])[1] - q.mean[1];
    const across = Math.sqrt(q.spread([0, 1]));
    const gap = Math.max(Math.abs(grid.slope - q.mean[1]), Math.abs(grid.scale - across));
    const agree = gap < 0.0005 && z > 0 ? "the grid agrees" : "the grid, cut off at ± 2, differs";
    const many = n === 1 ? "1 wine" : `${n} wines`;
    const [a, b] = chosen.map((v) => v.toFixed(2));
    return (
      `After ${many} the slope is ${q.mean[1].toFixed(2)} ± ${across.toFixed(2)}; ${agree}. ` +
      `The chosen line: intercept ${a}, slope ${b}.`
    );
  }
  weights.draw = update;
  lines.draw = update;
}
