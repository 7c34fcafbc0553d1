// A threshold over doubts about digits: what is kept, what is refused, and which promise is kept.
import {
  button, COLOURS, element, legend, onFrame, picture, plot, row, slider, voice,
} from "./kit.js";
import { keptAndRisk, numbers, obviousThreshold, provedThreshold } from "./mathematics.js";

const SHOWN = 18; // refused images
const [PIXELS, BLACK] = [64, 16]; // of an image, and the darkest ink
const CONFIDENCE = 0.9;

export function start(stage, { calibrate, doubt, read, label, thresholds, promise, images }) {
  const pixels = numbers(images);
  const wrong = read.map((c, i) => +(c !== label[i]));
  const halves = [
    [0, calibrate],
    [calibrate, doubt.length],
  ];
  const [before, after] = halves.map((ends) => ({
    doubts: doubt.slice(...ends),
    wrong: wrong.slice(...ends),
  }));
  // Every threshold that makes a difference on the new images.
  const stops = [...new Set(after.doubts)].sort((a, b) => a - b);
  const curves = [before, after].map((part) =>
    [...new Set(part.doubts)]
      .sort((a, b) => a - b)
      .map((t) => keptAndRisk(part.doubts, part.wrong, t)),
  );
  legend(stage, [
    ["", COLOURS[0], "new images"],
    ["dashed", COLOURS[4], "calibration images"],
    ["thin", COLOURS[1], "the promise"],
  ]);
  const canvas = plot(stage, {
    name: "Error rate among the images kept, against the share kept",
    x: [50, 100],
    y: [0, 7],
    xLabel: "images kept (%)",
    yLabel: "errors among the kept (%)",
    height: 260,
  });
  const say = voice(stage);
  const update = onFrame(() => canvas.width && draw());
  const sliders = row(stage);
  const hand = slider(
    sliders,
    {
      label: "threshold: keep doubts up to",
      min: -1,
      max: stops.length - 1,
      step: 1,
      value: stops.length - 1,
      format: (i) => stops[i]?.toPrecision(2) ?? "nothing",
    },
    () => {
      rule = "";
      update();
    },
  );
  const promised = slider(
    sliders,
    {
      label: "promise: errors at most",
      min: 0.005,
      max: 0.05,
      step: 0.005,
      value: promise,
      format: (v) => `${(100 * v).toFixed(1)} %`,
    },
    () => (rule ? choose(rule) : update()),
  );
  const buttons = row(stage);
  let rule = "";
  const rules = { obvious: obviousThreshold, proved: provedThreshold };
  for (const name of Object.keys(rules))
    button(buttons, `The ${name} threshold`, () => choose(name));
  button(buttons, "Keep all", () => {
    rule = "";
    hand.value = stops.length - 1;
    update();
  });
  const caption = element("p", { class: "live-title" }, "Refused, the least doubtful first:");
  const gallery = row(stage, "live-gallery");
  stage.append(caption);
  stage.append(gallery);

  function choose(name) {
    rule = name;
    const t = rules[name](before.doubts, before.wrong, thresholds, promised.value, CONFIDENCE);
    hand.value = stops.filter((v) => v <= t).length - 1;
    update();
  }

  function draw() {
    const threshold = stops[hand.value] ?? -Infinity; // keeps nothing
    const state = keptAndRisk(after.doubts, after.wrong, threshold);
    const looks = [
      { stroke: COLOURS[4], "stroke-dasharray": "5 4", "stroke-width": 1.5 },
      { stroke: COLOURS[0], "stroke-width": 2.5 },
    ];
    curves.forEach((curve, k) =>
      canvas.path(
        `curve ${k}`,
        curve.map((c) => [100 * c.coverage, 100 * c.risk]),
        looks[k],
      ),
    );
    canvas.level("promise", 100 * promised.value, { stroke: COLOURS[1], "stroke-width": 1.5 });
    canvas.dots("here", [[100 * state.coverage, 100 * state.risk]], {
      fill: COLOURS[0],
      stroke: "currentColor",
      r: 7,
    });
    const refused = after.doubts
      .map((v, i) => [v, i])
      .filter(([v]) => v > threshold)
      .sort(([a], [b]) => a - b);
    show(refused.slice(0, SHOWN).map(([, i]) => i));
    const mistakes = refused.filter(([, i]) => after.wrong[i]).length;
    const kept = state.risk <= promised.value;
    const chosen = rule && `The ${rule} threshold: `;
    say(
      `${chosen}${state.kept} of ${after.doubts.length} new images are kept, ${state.errors} of them misread ` +
        `(${(100 * state.risk).toFixed(1)} %): the promise is ${kept ? "kept" : "broken"}. ` +
        `Of the ${refused.length} refused, ${mistakes} would have been misread.`,
    );
  }

  function show(chosen) {
    gallery.replaceChildren(
      ...chosen.map((i) => {
        const [seen, is] = [read[calibrate + i], label[calibrate + i]];
        const image = pixels.subarray(PIXELS * i, PIXELS * (i + 1));
        const shown = picture(image, BLACK, `“${seen}”, is ${is}`, `read as ${seen}, is ${is}`);
        shown.classList.toggle("wrong", after.wrong[i]);
        return shown;
      }),
    );
  }
  canvas.draw = update;
}
