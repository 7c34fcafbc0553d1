// The iris network at the temperatures at which the chapter fitted it: no stop in between.
import {
  choice, COLOURS, element, legend, onFrame, plot, rgb, row, slider, voice,
} from "./kit.js";
import { numbers } from "./mathematics.js";

const SHAPES = ["●", "■", "▲"]; // species are told apart without colour, too
const HUES = SHAPES.map((_, c) => rgb(COLOURS[c]));

export function start(stage, { temperatures, fits, lengths, widths, petals, species, names }) {
  const written = temperatures.map((t) =>
    t < 0.99 ? `1/${Math.round(1 / t)}` : `${Math.round(t)}`,
  );
  const maps = Object.fromEntries(
    Object.entries(fits).map(([prior, stops]) => [prior, stops.map((stop) => numbers(stop.map))]),
  );
  const signs = legend(stage, []);
  names.forEach((name, c) =>
    signs.append(
      element(
        "span",
        {},
        element("b", { style: `color: ${COLOURS[c]}` }, `${SHAPES[c]}\u00a0`),
        name,
      ),
    ),
  );
  const panels = row(stage, "live-panels");
  const canvas = plot(panels, {
    name: "Map of the class probabilities over petal length and width, with the held-out flowers",
    x: [lengths[0], lengths.at(-1)],
    y: [widths[0], widths.at(-1)],
    xLabel: "petal length (cm)",
    yLabel: "petal width (cm)",
    height: 320,
  });
  const side = element("div", {});
  panels.append(side);
  const at = temperatures.map(Math.log10);
  const ends = [at[0] - 0.15, at.at(-1) + 0.15];
  const xTicks = () => [0, 4, 7, 10].map((i) => [at[i], written[i]]);
  const accuracy = plot(side, {
    name: "Accuracy on held-out flowers at each temperature",
    x: ends,
    y: [0, 1.08],
    xLabel: "temperature T",
    yLabel: "accuracy",
    height: 155,
    xTicks,
    yTicks: () => [
      [0, "0"],
      [1 / 3, "⅓"],
      [1, "1"],
    ],
  });
  const nats = plot(side, {
    name: "KL and minus the bound at each temperature, on a scale of powers of ten",
    x: ends,
    y: [0, 4],
    xLabel: "temperature T",
    yLabel: "nats",
    height: 165,
    xTicks,
    yTicks: () => [0, 1, 2, 3, 4].map((v) => [v, `${10 ** v}`]),
  });
  legend(side, [
    ["", COLOURS[3], "KL"],
    ["dashed", COLOURS[4], "minus the bound"],
  ]);
  const say = voice(stage);
  const update = onFrame(() => canvas.width && nats.width && accuracy.width && draw());
  const sliders = row(stage);
  const stop = slider(
    sliders,
    {
      label: "temperature T",
      min: 0,
      max: at.length - 1,
      step: 1,
      value: 0,
      format: (i) => written[i],
    },
    update,
  );
  stop.input.parentElement.style.maxWidth = "none";
  const prior = choice(row(stage), "Prior", Object.keys(fits), update);

  function draw() {
    const i = stop.value;
    const stops = fits[prior.value];
    const fit = stops[i];
    const map = maps[prior.value][i];
    canvas.map(lengths.length, widths.length, (a, b) => {
      const p = map.subarray(3 * (b * lengths.length + a), 3 * (b * lengths.length + a) + 3);
      const mixed = [0, 1, 2].map((part) => p.reduce((t, v, c) => t + (v / 255) * HUES[c][part], 0));
      // The surer, the more colour: at a guess of one third nothing is left of it.
      return [...mixed, (150 * (Math.max(...p) / 255 - 1 / 3)) / (2 / 3)];
    });
    petals.forEach(([x, y], k) => {
      const wrong = fit.classes[k] !== species[k];
      const look = { "text-anchor": "middle", dy: 5, stroke: "currentColor", "stroke-width": 0.7 };
      canvas.label(`flower ${k}`, x, y, SHAPES[species[k]], { fill: COLOURS[species[k]], ...look });
      canvas.label(`wrong ${k}`, x, y, wrong ? "✕" : "", look);
    });
    const show = (axes, key, values, style) => {
      const points = values.map((v, k) => [at[k], v]);
      axes.path(key, points, { "stroke-width": 1.5, ...style });
      axes.dots(`${key} stops`, points, { fill: style.stroke, r: 3 });
      axes.dots(`${key} now`, [points[i]], { fill: style.stroke, stroke: "currentColor", r: 6 });
    };
    accuracy.level("guess", 1 / 3, { stroke: "currentColor", "stroke-dasharray": "2 3" });
    show(
      accuracy,
      "accuracy",
      stops.map((s) => s.accuracy),
      { stroke: COLOURS[0] },
    );
    const log = (v) => Math.max(0, Math.log10(v));
    show(
      nats,
      "kl",
      stops.map((s) => log(s.KL)),
      { stroke: COLOURS[3] },
    );
    show(
      nats,
      "bound",
      stops.map((s) => log(-s.bound)),
      { stroke: COLOURS[4], "stroke-dasharray": "5 4" },
    );
    const nat = (v) => (Math.abs(v) < 10 ? v.toFixed(1) : Math.round(v).toLocaleString("en"));
    say(
      `At T = ${written[i]}: ${Math.round(100 * fit.accuracy)} % of the held-out flowers are right ` +
        `(✕ marks the others), KL ${nat(fit.KL)} nats, bound −${nat(-fit.bound)} nats.`,
    );
  }
  for (const axes of [canvas, accuracy, nats]) axes.draw = update;
}
