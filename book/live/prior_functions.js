// Fifty functions drawn from a prior over weights, redrawn while one drags its scales.
import { button, choice, COLOURS, onFrame, plot, row, slider, voice } from "./kit.js";
import { mean, normals, priorFunction, range } from "./mathematics.js";

const FUNCTIONS = 50;
const MOST = 128; // hidden units

export function start(stage, { low, high, centre, spread, units, prior }) {
  const inputs = range(61, low, high);
  const nice = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4,
  ];
  const canvas = plot(stage, {
    name: "Fifty functions drawn from the prior, before any data",
    x: [low, high],
    y: [-1, 1],
    xLabel: "alcohol (% by volume)",
    yLabel: "output",
  });
  const say = voice(stage);
  const update = onFrame(() => canvas.width && redraw());
  const controls = row(stage);
  const activation = choice(controls, "Activation", ["tanh", "ReLU", "step"], update);
  const output = choice(controls, "Output weights", ["τ", "τ/√H"], update);
  const sliders = row(stage);
  const width = slider(
    sliders,
    { label: "hidden units H", min: 1, max: MOST, log: true, value: units, format: Math.round },
    update,
  );
  const plain = (v) => v.toPrecision(2);
  const tau = slider(
    sliders,
    { label: "prior scale τ", min: 0.05, max: 5, log: true, value: prior, format: plain },
    update,
  );
  const input = slider(
    sliders,
    {
      label: "input in units of",
      min: 0.1,
      max: 10,
      log: true,
      value: 1,
      format: (v) => `${plain(v)} sd`,
    },
    update,
  );
  const buttons = row(stage);
  let z;
  const draw = (seed) => {
    const next = normals(seed);
    z = Array.from({ length: FUNCTIONS }, () => next.many(3 * MOST + 1));
  };
  let seed = 1;
  draw(seed);
  button(buttons, "Draw fifty others", () => {
    draw((seed += 1));
    update();
  });

  function functions() {
    const H = Math.round(width.value);
    const scaled = inputs.map((v) => (v - centre) / spread / input.value);
    const last = output.value === "τ" ? tau.value : tau.value / Math.sqrt(H);
    return z.map((one) => {
      // The output's bias is the last number, whatever the width.
      const used = [...one.slice(0, 3 * H), one[3 * MOST]];
      return priorFunction(scaled, H, used, activation.value, tau.value, last);
    });
  }

  let curves;
  function redraw() {
    curves = functions();
    const sizes = curves.map((f) => Math.max(...f.map(Math.abs))).sort((a, b) => a - b);
    const top = nice.find((v) => v >= sizes[Math.floor(0.9 * FUNCTIONS)]) ?? nice.at(-1);
    canvas.span(canvas.x, [-top, top]);
    curves.forEach((f, s) =>
      canvas.path(
        `function ${s}`,
        f.map((v, i) => [inputs[i], v]),
        {
          stroke: COLOURS[s % 4],
          "stroke-opacity": 0.75,
          "stroke-width": 1.2,
        },
      ),
    );
    say(report());
  }
  canvas.draw = update;

  function report() {
    const size = Math.sqrt(mean(curves.map((f) => mean(f.map((v) => v * v)))));
    const turns = mean(
      curves.map(
        (f) => f.filter((v, i) => i > 1 && (v - f[i - 1]) * (f[i - 1] - f[i - 2]) < 0).length,
      ),
    );
    const shape =
      turns < 0.3
        ? "nearly all only rise or only fall"
        : `they turn ${turns.toFixed(1)} times on average`;
    return `Typical size of the output: ± ${size.toPrecision(2)}. From the weakest wine to the strongest, ${shape}.`;
  }
}
