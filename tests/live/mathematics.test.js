// Compares the live figures' mathematics with what the package computed on the same inputs
// (tests/test_live_mathematics.py writes them, and starts this with `node --test`).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import * as live from "../../book/live/mathematics.js";

const cases = JSON.parse(readFileSync(process.env.LIVE_CASES, "utf8"));

// How each case's inputs are handed over, and its outputs named.
const compute = {
  linear({ rows, y, scales, noise, at, z }) {
    const q = live.linearPosterior(rows, y, scales, noise);
    return {
      mean: q.mean,
      spread: at.map(q.spread),
      independentSpread: at.map(q.independentSpread),
      draw: q.draw(z),
      independentDraw: q.independentDraw(z),
    };
  },
  features: ({ x, slopes, kinks }) => x.map((v) => live.tanhFeatures(v, slopes, kinks)),
  grid({ x, y, sites, scale, noise }) {
    const { slope, scale: sd } = live.gridPosterior(x, y, sites, scale, noise);
    return { slope, sd };
  },
  normals: ({ seed, many }) => live.normals(seed).many(many),
  prior: ({ inputs, units, z, scale, outputScale }) =>
    Object.keys(live.ACTIVATIONS).map((activation) =>
      live.priorFunction(inputs, units, z, activation, scale, outputScale),
    ),
  leapfrog: ({ model, rows, y, scale, noise, w, push, step, steps }) =>
    live
      .leapfrog(live.landscape(model, rows, y, scale, noise), w, push, step, steps)
      .map(({ w: place, p, energy }) => ({ w: place, p, energy })),
  draws({ kind, rows, y, scale, noise, w, draws, step, steps, seed }) {
    const ground = live.landscape("linear", rows, y, scale, noise);
    return live[`${kind}Draws`](ground, w, draws, step, steps, live.normals(seed));
  },
  acceptance: (pairs) => pairs.map(([before, after]) => live.acceptance(before, after)),
  packed: ({ bytes, halves }) => ({ bytes: live.numbers(bytes), halves: live.numbers(halves) }),
  doubt: (draws) => live.doubt(draws),
  dense: ({ w, x, units, classes }) => live.denseProbabilities(w, x, units, classes),
  digit: ({ layers, image }) => live.digitProbabilities(layers, image),
  cdf: (values) => values.map(live.normalCdf),
  score: ({ m, s, share, width, grades, y }) =>
    live.score(live.spiked(m, s, share, width, grades), y),
  binomial: (trials) => trials.map(([k, n, p]) => live.binomialCdf(k, n, p)),
  abstain({ doubts, wrong, thresholds, promise, confidence }) {
    const states = thresholds.map((t) => live.keptAndRisk(doubts, wrong, t));
    return {
      coverage: states.map((state) => state.coverage),
      risk: states.map((state) => state.risk),
      proved: live.provedThreshold(doubts, wrong, thresholds, promise, confidence),
      obvious: live.obviousThreshold(doubts, wrong, thresholds, promise),
    };
  },
};

function compare(found, expected, place) {
  if (typeof expected === "number") {
    const allowed = 1e-6 * Math.max(1, Math.abs(expected));
    assert.ok(Math.abs(found - expected) <= allowed, `${place}: ${found} instead of ${expected}`);
  } else {
    if (Array.isArray(expected)) assert.equal(found.length, expected.length, place);
    for (const key of Object.keys(expected)) compare(found[key], expected[key], `${place}.${key}`);
  }
}

for (const { name, given, expected } of cases) {
  test(name, () => compare(compute[name](given), expected, name));
}

test("every function has a case", () => {
  assert.deepEqual([...new Set(cases.map((one) => one.name))].sort(), Object.keys(compute).sort());
});
