// A forecast of real grades that the reader may widen, shift and spike, and what each score says.
import { button, COLOURS, element, onFrame, plot, row, slider, voice } from "./kit.js";
import { mean, mixturePdf, range, score, spiked } from "./mathematics.js";

const GRADES = [3, 4, 5, 6, 7, 8, 9];
const BARS = 10;
const HONEST = { width: 1, shift: 0, share: 0, spike: 0.1 };
const SCORES = [
  ["nll", "NLL", "nats, of the density"],
  ["discretised", "discretised NLL", "nats, of the grade"],
  ["crps", "CRPS", "grades"],
  ["covered", "coverage", "of 90 % intervals"],
];

export function start(stage, { mean: centres, sd, grade }) {
  const tiles = row(stage, "live-tiles");
  const tile = Object.fromEntries(
    SCORES.map(([key, name, unit]) => {
      const [value, change] = [element("b", {}), element("small", {})];
      tiles.append(element("div", {}, name, value, change, element("small", {}, unit)));
      return [key, { value, change }];
    }),
  );
  const panels = row(stage, "live-panels");
  const pit = plot(panels, {
    name: "Histogram of the PIT of all test wines, with the level of an even one",
    x: [0, 1],
    y: [0, 150],
    xLabel: "PIT",
    yLabel: "wines",
    height: 250,
  });
  const density = plot(panels, {
    name: "The forecast of one wine, and its grade",
    x: [2.5, 9.5],
    y: [0, 1],
    xLabel: "grade",
    yLabel: "density",
    height: 250,
    xTicks: () => GRADES.map((g) => [g, g]),
  });
  const say = voice(stage);
  const update = onFrame(() => pit.width && density.width && draw());
  const sliders = row(stage);
  const two = (v) => v.toFixed(2);
  const hands = {
    width: slider(
      sliders,
      { label: "width ×", min: 0.2, max: 5, log: true, value: 1, format: two },
      update,
    ),
    shift: slider(
      sliders,
      { label: "shift (grades)", min: -1.5, max: 1.5, step: 0.05, value: 0, format: two },
      update,
    ),
    share: slider(
      sliders,
      { label: "mass in spikes", min: 0, max: 0.95, step: 0.05, value: 0, format: two },
      update,
    ),
    spike: slider(
      sliders,
      {
        label: "width of a spike",
        min: 1e-6,
        max: 0.3,
        log: true,
        value: 0.1,
        format: (v) => v.toPrecision(1),
      },
      update,
    ),
  };
  const buttons = row(stage);
  const set = (next) => {
    for (const [name, value] of Object.entries({ ...HONEST, ...next })) hands[name].value = value;
    update();
  };
  let wine = 0;
  button(buttons, "Honest", () => set({}));
  button(buttons, "Too sure", () => set({ width: 0.4 }));
  button(buttons, "Too careful", () => set({ width: 2.5 }));
  button(buttons, "Game the density", () => set({ share: 0.5, spike: 1e-6 }));
  button(buttons, "Another wine", () => {
    wine = (wine + 37) % grade.length;
    update();
  });

  const forecast = (i, { width, shift, share, spike }) =>
    spiked(centres[i] + shift, sd[i] * width, share, spike, GRADES);

  function scoresOf(shape) {
    const each = grade.map((y, i) => score(forecast(i, shape), y));
    const averages = { covered: mean(each.map(({ pit: p }) => +(Math.abs(p - 0.5) <= 0.45))) };
    for (const key of ["nll", "discretised", "crps"])
      averages[key] = mean(each.map((one) => one[key]));
    return { averages, pits: each.map((one) => one.pit) };
  }
  const honest = scoresOf(HONEST).averages;

  function draw() {
    const shape = Object.fromEntries(
      Object.entries(hands).map(([name, hand]) => [name, hand.value]),
    );
    const { averages, pits } = scoresOf(shape);
    for (const [key] of SCORES) {
      const gain = averages[key] - honest[key];
      tile[key].value.textContent = averages[key].toFixed(2).replace("-", "−");
      tile[key].change.textContent =
        Math.abs(gain) < 0.005
          ? "as honest"
          : `${gain > 0 ? "+" : "−"}${Math.abs(gain).toFixed(2)}`;
    }
    const bars = Array(BARS).fill(0);
    for (const p of pits) bars[Math.min(BARS - 1, Math.floor(p * BARS))] += 1;
    pit.span(pit.x, [0, Math.max(150, 1.05 * Math.max(...bars))]);
    bars.forEach((n, i) => {
      const look = { fill: COLOURS[0], "fill-opacity": 0.5, stroke: COLOURS[0] };
      pit.bar(`bar ${i}`, [i / BARS, (i + 1) / BARS], n, look);
    });
    const dashed = { stroke: "currentColor", "stroke-dasharray": "5 4" };
    pit.level("even", grade.length / BARS, dashed);
    const parts = forecast(wine, shape);
    // A spike is far narrower than a pixel: look at its very top, too.
    const places = [...range(281, 2.5, 9.5), ...GRADES].sort((a, b) => a - b);
    const curve = places.map((v) => [v, Math.min(mixturePdf(parts, v), 4)]);
    density.span(density.x, [
      0,
      Math.max(0.8, Math.min(4, 1.05 * Math.max(...curve.map(([, v]) => v)))),
    ]);
    density.path("forecast", curve, {
      stroke: COLOURS[0],
      "stroke-width": 2,
      fill: COLOURS[0],
      "fill-opacity": 0.15,
    });
    const top = density.y[1];
    density.path(
      "grade",
      [
        [grade[wine], 0],
        [grade[wine], top],
      ],
      { stroke: COLOURS[1], "stroke-width": 2, "stroke-dasharray": "6 3" },
    );
    density.label("is", grade[wine], 0.93 * top, "the grade", { fill: COLOURS[1], dx: 5 });
    say(report(averages));
  }

  function report(averages) {
    const better = ["nll", "discretised", "crps"].filter(
      (key) => averages[key] < honest[key] - 0.005,
    );
    const names = Object.fromEntries(SCORES);
    const cover = `${Math.round(100 * averages.covered)} % of the grades lie in the 90 % intervals.`;
    const gain = honest.nll - averages.nll;
    if (gain > 0.1 && Math.abs(averages.discretised - honest.discretised) < 0.02) {
      return (
        `The NLL has gained ${gain.toFixed(1)} nats, and the grades are no more probable than before: ` +
        `it is gamed. (The CRPS may gain a little, since grades are whole numbers.) ${cover}`
      );
    }
    if (better.length)
      return `Better than the honest forecast by ${better.map((key) => names[key]).join(" and ")}. ${cover}`;
    return `No score is better than the honest forecast’s. ${cover}`;
  }
  for (const axes of [pit, density]) axes.draw = update;
}
