// Push a ball over the posterior of two weights: the leapfrog path, its energy, its acceptance.
import {
  button, calm, choice, COLOURS, keys, legend, onFrame, plot, rgb, row, slider, voice,
} from "./kit.js";
import {
  acceptance, distance, hamiltonianDraws, landscape, leapfrog, normals, range, walkDraws,
} from "./mathematics.js";

const SIDE = 61; // of the map of the landscape
const DRAWS = 30;

export function start(stage, { models, prior, noise, step, steps }) {
  legend(stage, [
    ["area", COLOURS[0], "posterior", 0.5],
    ["dot", COLOURS[1], "the ball, and the path of its push"],
    ["dot", COLOURS[2], "draws of the ball"],
    ["dot", COLOURS[3], "of the random walk"],
  ]);
  const panels = row(stage, "live-panels");
  const land = plot(panels, {
    name: "The posterior of two weights: drag from the ball to push it, or use the arrow keys",
    x: models.linear.box[0],
    y: models.linear.box[1],
    xLabel: "w₁",
    yLabel: "w₂",
    height: 330,
    hands: true,
  });
  const graph = plot(panels, {
    name: "Energy along the path, above that of its start",
    x: [0, 1],
    y: [-1, 2],
    xLabel: "leapfrog steps",
    yLabel: "energy gained (nats)",
    height: 330,
  });
  const say = voice(stage);
  const update = onFrame(() => land.width && graph.width && draw());
  const controls = row(stage);
  const model = choice(controls, "Posterior", ["narrow valley", "two modes"], reset);
  const sliders = row(stage);
  const size = slider(
    sliders,
    {
      label: "step size",
      min: 0.005,
      max: 0.5,
      log: true,
      value: step,
      format: (v) => v.toPrecision(2),
    },
    roll,
  );
  const many = slider(sliders, { label: "steps", min: 1, max: 80, step: 1, value: steps }, roll);
  const buttons = row(stage);
  button(buttons, "Random push", () => push(chance.many(2)));
  button(buttons, `${DRAWS} pushes`, () => run("ball"));
  button(buttons, "Random walk at the same cost", () => run("walk"));
  button(buttons, "Start again", reset);

  const chance = normals(7);
  let [name, ground, map, ball, momentum, path, shown, clouds] = [];
  let accepted = "";

  function reset() {
    name = model.value === "narrow valley" ? "linear" : "network";
    const { rows, y, box, begin } = models[name];
    ground = landscape(name, rows, y, prior, noise);
    const [across, up] = box.map(([low, high]) => range(SIDE, low, high));
    map = up.map((w2) => across.map((w1) => ground.height([w1, w2])));
    const floor = Math.min(...map.flat());
    map = map.map((line) => line.map((v) => v - floor));
    ball = begin;
    momentum = [1, 0.6];
    clouds = { ball: [], walk: [] };
    accepted = "";
    land.span(...box);
    roll();
  }

  // The path of the present push, not yet taken.
  function roll() {
    path = leapfrog(ground, ball, momentum, size.value, many.value);
    shown = path.length;
    update();
  }

  // Take the push: roll along the path, then accept its end or stay.
  function push(next) {
    momentum = next;
    roll();
    const last = path;
    shown = calm() ? last.length : 1;
    const advance = () => {
      if (path !== last) return; // another push came in between
      if (shown < last.length) {
        shown += 1;
        update();
        requestAnimationFrame(advance);
      } else settle();
    };
    advance();
  }

  function settle() {
    const taken = chance.uniform() < acceptance(path[0].energy, path.at(-1).energy);
    accepted = `The last push was ${taken ? "accepted" : "refused: the ball stays"}.`;
    if (taken) ball = path.at(-1).w;
    clouds.ball.push(ball);
    roll();
  }

  // Draws of either kind, at the same cost: a place that the walk looks at counts as a step.
  function run(kind) {
    const sample = kind === "ball" ? hamiltonianDraws : walkDraws;
    const { places, rate } = sample(ground, ball, DRAWS, size.value, many.value, chance);
    clouds[kind] = places;
    const who = kind === "ball" ? "pushes" : "steps of the random walk";
    accepted = `Of the ${who}, ${Math.round(100 * rate)} % were accepted.`;
    update();
  }

  let aim = null;
  const root = land.root;
  root.classList.add("live-held");
  root.addEventListener("pointerdown", (event) => {
    root.setPointerCapture(event.pointerId);
    aim = land.at(event);
  });
  const pull = (at) =>
    at.map((v, k) => (6 * (v - ball[k])) / (land[k ? "y" : "x"][1] - land[k ? "y" : "x"][0]));
  root.addEventListener("pointermove", (event) => {
    if (!aim) return;
    momentum = pull(land.at(event));
    roll();
  });
  root.addEventListener("pointerup", (event) => {
    if (aim) push(pull(land.at(event)));
    aim = null;
  });
  root.addEventListener("pointercancel", () => (aim = null));
  keys(root, {
    move: (step) => {
      momentum = momentum.map((v, i) => v + 0.2 * step[i]);
      roll();
    },
    press: () => push(momentum),
  });

  function draw() {
    land.map(SIDE, SIDE, (i, j) => [...rgb(COLOURS[0]), 210 * Math.exp(-map[j][i] / 2)]);
    land.dots("walk", clouds.walk, { fill: COLOURS[3], r: 4 });
    land.dots("draws", clouds.ball, { fill: COLOURS[2], r: 4 });
    const way = path.slice(0, shown).map((state) => state.w);
    land.path("path", way, { stroke: COLOURS[1], "stroke-width": 2 });
    land.dots("steps", way, { fill: COLOURS[1], r: 2 });
    land.dots("end", way.slice(-1), { fill: "none", stroke: COLOURS[1], "stroke-width": 2, r: 6 });
    const here = shown < path.length ? way.at(-1) : ball;
    land.dots("ball", [here], { fill: COLOURS[1], stroke: "currentColor", r: 8 });
    const gained = path.map((s, i) => [i, s.energy - path[0].energy]);
    // The axes of the graph follow the path, as far as it makes sense.
    const [low, high] = [Math.min, Math.max].map((end) => end(...gained.map(([, v]) => v)));
    graph.span(
      [0, many.value],
      [Math.min(-0.5, Math.max(low, -20)), Math.max(0.5, Math.min(high, 20))],
    );
    graph.level("zero", 0, { stroke: "currentColor", "stroke-opacity": 0.4 });
    graph.path("energy", gained.slice(0, shown), { stroke: COLOURS[1], "stroke-width": 2 });
    say(report(gained));
  }

  function report(gained) {
    const end = gained.at(-1)[1];
    const away = path.length <= many.value;
    const rate = acceptance(0, end);
    const went = distance(path.at(-1).w, path[0].w);
    const told = away
      ? "The steps are too coarse: the energy runs away, a divergence, and no such end is accepted."
      : `This push moves the ball by ${went.toFixed(2)}; energy ${end >= 0 ? "gained" : "lost"}: ` +
        `${Math.abs(end).toFixed(2)} nats, so its end is accepted with probability ${rate.toFixed(2)}.`;
    return `${told} ${accepted}`;
  }

  land.draw = update;
  graph.draw = update;
  reset();
}
