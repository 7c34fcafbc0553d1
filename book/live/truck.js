// A digit of the reader's own, classified by an ensemble that has seen eight of the ten digits.
import {
  button, choice, COLOURS, element, keys, legend, onFrame, paint, picture, plot, row, voice, within,
} from "./kit.js";
import { digitProbabilities, distance, doubt, numbers } from "./mathematics.js";

const [SIDE, BLACK, PEN] = [8, 16, 1.25]; // pixels, the darkest ink, the pen's reach in pixels
const NEAREST = 4;

export function start(stage, { names, left_out, usual, known, strangers }, later) {
  let ink = new Float64Array(SIDE * SIDE);
  let cursor = null; // of the keyboard
  let networks = null;
  let loading = null;

  const panels = row(stage, "live-panels");
  const left = row(panels, "live-panel");
  const paper = element("canvas", {
    class: "live-paper",
    width: SIDE,
    height: SIDE,
    tabindex: 0,
    role: "application",
    "aria-label":
      "Paper of 8 by 8 pixels: draw with mouse or finger; or move with the arrow keys, and press space for ink",
  });
  const frame = element("div", { class: "live-sheet" }, paper);
  left.append(frame);
  const mark = element("span", { class: "live-cursor", hidden: "" });
  frame.append(mark);
  const right = row(panels, "live-panel");
  legend(right, [
    ["dot", COLOURS[0], "one network"],
    ["area", COLOURS[0], "average of the five", 0.5],
  ]);
  const bars = plot(right, {
    name: "Probability of each of the eight known digits",
    x: [-0.6, names.length - 0.4],
    y: [0, 1],
    xLabel: "known digits",
    yLabel: "probability",
    height: 220,
    xTicks: () => names.map((name, c) => [c, name]),
    yTicks: () => [0, 0.5, 1].map((v) => [v, v]),
  });
  const near = element("div", { class: "live-gallery" });
  right.append(near);
  const say = voice(stage);
  const update = onFrame(() => bars.width && draw());
  const controls = row(stage);
  const pen = choice(controls, "Pen", ["ink", "eraser"], () => {});
  button(controls, "Blank", () => set(ink.map(() => 0)));
  button(controls, "Invert", () => set(ink.map((v) => BLACK - v)));
  const examples = row(stage);
  const shelves = {
    "A known digit": numbers(known),
    [`A stranger: ${left_out.join(" or ")}`]: numbers(strangers),
  };
  for (const [label, images] of Object.entries(shelves)) {
    let turn = 0;
    button(examples, label, () => {
      const many = images.length / SIDE ** 2;
      set(Float64Array.from(images.subarray(SIDE ** 2 * turn, SIDE ** 2 * (turn + 1))));
      turn = (turn + 1) % many;
    });
  }

  // The weights come at the first touch.
  function touch() {
    loading ??= later().then(({ weights, images, labels }) => {
      const pixels = numbers(images);
      networks = {
        members: weights.map((layers) => layers.map(numbers)),
        images: labels.map((_, i) =>
          Float64Array.from(pixels.subarray(SIDE ** 2 * i, SIDE ** 2 * (i + 1))),
        ),
        labels,
      };
      update();
    });
  }

  function set(next) {
    ink = Float64Array.from(next);
    touch();
    update();
  }

  function dab([x, y]) {
    const drawing = pen.value === "ink";
    ink = ink.map((v, i) => {
      const away = Math.hypot((i % SIDE) + 0.5 - x, Math.floor(i / SIDE) + 0.5 - y) / PEN;
      const dose = BLACK * within(1.5 * (1 - away), 0, 1);
      return drawing ? Math.max(v, dose) : Math.min(v, BLACK - dose);
    });
    touch();
    update();
  }
  const at = (event) => {
    const box = paper.getBoundingClientRect();
    return [
      (SIDE * (event.clientX - box.left)) / box.width,
      (SIDE * (event.clientY - box.top)) / box.height,
    ];
  };
  paper.addEventListener("pointerdown", (event) => {
    paper.setPointerCapture(event.pointerId);
    dab(at(event));
  });
  paper.addEventListener("pointermove", (event) => event.buttons && dab(at(event)));
  keys(paper, {
    move: ([across, up]) => {
      const [x, y] = cursor ?? [3, 3];
      cursor = [within(x + across, 0, SIDE - 1), within(y - up, 0, SIDE - 1)];
      update();
    },
    press: () => dab((cursor ??= [3, 3]).map((v) => v + 0.5)),
  });
  paper.addEventListener("blur", () => {
    cursor = null;
    update();
  });

  function draw() {
    paint(paper, ink, BLACK);
    mark.hidden = !cursor;
    if (cursor) [mark.style.left, mark.style.top] = cursor.map((v) => `${(100 * v) / SIDE}%`);
    if (!networks) {
      const what = loading
        ? "The five networks are on their way."
        : "Draw on the paper, or take an example.";
      return say(
        `${what} They know ${names.join(", ")}, and have never seen ${left_out.join(" or ")}.`,
      );
    }
    const image = ink.map((v) => v / BLACK);
    const draws = networks.members.map((layers) => digitProbabilities(layers, image));
    const all = doubt(draws);
    all.average.forEach((p, c) => {
      const look = { fill: COLOURS[0], "fill-opacity": 0.5 };
      bars.bar(`bar ${c}`, [c - 0.35, c + 0.35], p, look);
      const dots = draws.map((one, s) => [c + 0.12 * (s - 2), one[c]]);
      bars.dots(`dots ${c}`, dots, {
        fill: COLOURS[0],
        stroke: "currentColor",
        "stroke-width": 0.6,
        r: 3.5,
      });
    });
    const found = networks.images
      .map((other, i) => [distance(ink, other) / BLACK, i])
      .sort(([a], [b]) => a - b)
      .slice(0, NEAREST);
    near.replaceChildren(
      ...found.map(([away, i]) => {
        const words = `a ${names[networks.labels[i]]}, ${away.toFixed(1)} away`;
        return picture(networks.images[i], BLACK, words);
      }),
    );
    const best = all.average.indexOf(Math.max(...all.average));
    const judged = (value, limit) =>
      `${value.toFixed(2)}${value > limit ? " (more than for 95 % of known digits)" : ""}`;
    say(
      `“${names[best]}” with probability ${all.average[best].toFixed(2)}; ` +
        `entropy ${judged(all.entropy, usual.entropy)}, ` +
        `mutual information ${judged(all.epistemic, usual.information)}; ` +
        `distance to the nearest training image ${judged(found[0][0], usual.distance)}.`,
    );
  }
  bars.draw = update;
}
