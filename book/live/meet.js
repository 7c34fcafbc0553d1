// A flower of the reader's own, classified by three posteriors of one network.
import { button, calm, COLOURS, legend, onFrame, plot, row, slider, tick, voice } from "./kit.js";
import { denseProbabilities, distance, doubt, mean, normals, numbers } from "./mathematics.js";

const [UNITS, CLASSES, WEIGHTS, DRAWS] = [100, 3, 803, 28];
const PARTS = ["sepal length", "sepal width", "petal length", "petal width"];

export function start(stage, data) {
  const { low, step, centre, spread, flowers, species, names, border } = data;
  const codes = numbers(data.codes);
  const stored = Array.from({ length: codes.length / WEIGHTS }, (_, s) =>
    Float64Array.from(codes.subarray(s * WEIGHTS, (s + 1) * WEIGHTS), (code) => low + step * code),
  );
  const chance = normals(1);
  const drawn = ([centres, scales]) => {
    const [m, s] = [numbers(centres), numbers(scales)];
    return Array.from({ length: DRAWS }, () => m.map((v, i) => v + s[i] * chance()));
  };
  const scaled = (x) => x.map((v, i) => (v - centre[i]) / spread[i]);
  // The published recipe takes centimetres as they are.
  const networks = [
    { name: "exact posterior", draws: stored, seen: scaled },
    { name: "mean-field", draws: drawn(data.field), seen: scaled },
    { name: "the published recipe", draws: drawn(data.recipe), seen: (x) => x },
  ];

  const typical = PARTS.map((_, i) =>
    mean(flowers.filter((_, k) => species[k] === 0).map((f) => f[i])),
  );
  let flower = border;
  const presets = row(stage);
  const sliders = row(stage);
  const hands = PARTS.map((label, i) =>
    slider(
      sliders,
      { label, min: 0.1, max: 8, step: 0.1, value: flower[i], format: (v) => `${v.toFixed(1)} cm` },
      () => pick(flower.map((v, k) => (k === i ? hands[i].value : v))),
    ),
  );
  legend(stage, [
    ["dot", COLOURS[0], "one network’s probability of the class"],
    ["", "currentColor", "their average"],
    ["dot", COLOURS[1], "a network chosen at random"],
  ]);
  const panels = row(stage, "live-panels");
  const plots = networks.map(({ name }) => {
    const panel = row(panels, "live-panel");
    const title = row(panel, "live-title");
    title.textContent = name;
    return plot(panel, {
      name: `Class probabilities by ${name}`,
      x: [0, 1],
      y: [-0.5, CLASSES - 0.5],
      xLabel: "probability",
      yLabel: "",
      height: 190,
      xTicks: () => [0, 0.5, 1].map((v) => [v, v]),
      yTicks: () =>
        names.map((species, c) => [
          CLASSES - 1 - c,
          species.length > 7 ? `${species.slice(0, 6)}.` : species,
        ]),
    });
  });
  const say = voice(stage);
  const update = onFrame(() => plots.every((p) => p.width) && draw());
  const pick = (next) => {
    flower = next;
    update();
  };
  const set = (next) => {
    hands.forEach((hand, i) => (hand.value = next[i]));
    pick(next);
  };
  button(presets, "typical setosa", () => set(typical));
  button(presets, "at the border", () => set(border));
  button(presets, "a metre (100, 100, 100, 100)", () => set([100, 100, 100, 100]));
  let one = 0;
  let clock;
  tick(presets, "let single networks flicker", false, (on) => {
    clearInterval(clock);
    if (on) clock = setInterval(() => pick(flower, (one = (one + 1) % DRAWS)), calm() ? 2000 : 350);
  });

  function draw() {
    const told = networks.map(({ name, draws, seen }, k) => {
      const probabilities = draws.map((w) => denseProbabilities(w, seen(flower), UNITS, CLASSES));
      const all = doubt(probabilities);
      for (let c = 0; c < CLASSES; c += 1) {
        const height = CLASSES - 1 - c;
        // Scattered up and down, so that equal networks are seen as many.
        const dots = probabilities.map((p, s) => [p[c], height + 0.3 * (((s * 0.618) % 1) - 0.5)]);
        plots[k].dots(`dots ${c}`, dots, { fill: COLOURS[0], "fill-opacity": 0.55, r: 3.5 });
        const bar = [-0.32, 0.32].map((up) => [all.average[c], height + up]);
        plots[k].path(`average ${c}`, bar, { stroke: "currentColor", "stroke-width": 3 });
        plots[k].dots(`one ${c}`, [dots[one]], { fill: COLOURS[1], r: 5 });
      }
      const best = all.average.indexOf(Math.max(...all.average));
      return (
        `${name}: ${names[best]} ${all.average[best].toFixed(2)}, ` +
        `epistemic ${all.epistemic.toFixed(2)}, aleatoric ${all.aleatoric.toFixed(2)} nats`
      );
    });
    const far = flowers.map((f, i) => [distance(f, flower), i]).sort(([a], [b]) => a - b);
    const near = far.slice(0, 3).map(([, i]) => names[species[i]]);
    const apart = far[0][0];
    const cm = apart < 10 ? apart.toFixed(1) : Math.round(apart);
    say(`${told.join("; ")}. Nearest real flowers: ${near.join(", ")}, from ${cm} cm away.`);
  }
  for (const axes of plots) axes.draw = update;
}
