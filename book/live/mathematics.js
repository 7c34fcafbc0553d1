// The mathematics of the live figures: pure functions of numbers and arrays, which
// tests/live/mathematics.test.js compares with the package's. Matrices are arrays of rows.

export const sum = (values) => values.reduce((total, v) => total + v, 0);
export const mean = (values) => sum(values) / values.length;
export const dot = (a, b) => {
  let total = 0;
  for (let i = 0; i < a.length; i += 1) total += a[i] * b[i];
  return total;
};
export const range = (n, low, high) =>
  Array.from({ length: n }, (_, i) => low + ((high - low) * i) / (n - 1));

export const QUANTILE = 1.6449; // of the Normal: a band of ± as many deviations holds 90 %

// ---- Chance ---------------------------------------------------------------------------------

// Standard Normal numbers from a seed: mulberry32, then the method of Box and Muller.
export function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  const next = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return Object.assign(next, { uniform, many: (n) => Array.from({ length: n }, next) });
}

// ---- Linear models in closed form -----------------------------------------------------------

// Lower triangular root of a positive definite matrix.
export function cholesky(A) {
  const L = A.map((row) => new Float64Array(row.length));
  for (let i = 0; i < A.length; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      let rest = A[i][j];
      for (let k = 0; k < j; k += 1) rest -= L[i][k] * L[j][k];
      L[i][j] = i === j ? Math.sqrt(rest) : rest / L[j][j];
    }
  }
  return L;
}

// The solution of L x = b.
export function forward(L, b) {
  const x = new Float64Array(b.length);
  for (let i = 0; i < b.length; i += 1) {
    let rest = b[i];
    for (let k = 0; k < i; k += 1) rest -= L[i][k] * x[k];
    x[i] = rest / L[i][i];
  }
  return x;
}

// The solution of Lᵀ x = b.
export function backward(L, b) {
  const x = new Float64Array(b.length);
  for (let i = b.length - 1; i >= 0; i -= 1) {
    let rest = b[i];
    for (let k = i + 1; k < b.length; k += 1) rest -= L[k][i] * x[k];
    x[i] = rest / L[i][i];
  }
  return x;
}

// The exact posterior of w, where y ~ N(Φ w, σ² I) and w ~ N(0, diag(τ²)): bnnbook's `conjugate`.
// Its precision is A = L Lᵀ. `spread(φ)` is the variance of φᵀ w; the best Normal of independent
// weights has the same mean, the variances 1/Aᵢᵢ, and so another spread.
export function linearPosterior(rows, y, priorScales, noise) {
  const size = priorScales.length;
  const A = priorScales.map((scale, i) => {
    const row = new Float64Array(size);
    row[i] = scale ** -2;
    return row;
  });
  const b = new Float64Array(size);
  rows.forEach((row, n) => {
    for (let i = 0; i < size; i += 1) {
      b[i] += (row[i] * y[n]) / noise ** 2;
      for (let j = 0; j <= i; j += 1) A[i][j] += (row[i] * row[j]) / noise ** 2;
    }
  });
  const L = cholesky(A);
  const centre = backward(L, forward(L, b));
  const independent = A.map((row, i) => 1 / row[i]);
  return {
    mean: centre,
    precision: A,
    independent,
    spread: (phi) => {
      const z = forward(L, phi);
      return dot(z, z);
    },
    independentSpread: (phi) => independent.reduce((total, v, i) => total + v * phi[i] ** 2, 0),
    // Weights from standard Normal numbers.
    draw: (z) => backward(L, z).map((v, i) => centre[i] + v),
    independentDraw: (z) => centre.map((v, i) => v + Math.sqrt(independent[i]) * z[i]),
  };
}

// Fixed features of one input: a one, and tanh units of the given slopes and kinks.
export const tanhFeatures = (x, slopes, kinks) => [
  1,
  ...slopes.map((slope, i) => Math.tanh(slope * (x - kinks[i]))),
];

// The same posterior, for an intercept and a slope, by brute force: prior times likelihood on a
// grid, made to sum to one. `sites` are the grid's values of either weight.
export function gridPosterior(x, y, sites, priorScale, noise) {
  const n = sites.length;
  const logs = new Float64Array(n * n); // row: slope, column: intercept
  for (let j = 0; j < n; j += 1) {
    for (let i = 0; i < n; i += 1) {
      let total = (sites[i] ** 2 + sites[j] ** 2) / priorScale ** 2;
      for (let k = 0; k < x.length; k += 1) {
        total += ((y[k] - sites[i] - sites[j] * x[k]) / noise) ** 2;
      }
      logs[j * n + i] = -total / 2;
    }
  }
  const top = logs.reduce((a, b) => Math.max(a, b));
  const weights = logs.map((v) => Math.exp(v - top));
  const total = sum(weights);
  const slopes = sites.map((_, j) => sum(weights.subarray(j * n, (j + 1) * n)) / total);
  const slope = dot(slopes, sites);
  const scale = Math.sqrt(slopes.reduce((t, p, j) => t + p * (sites[j] - slope) ** 2, 0));
  return { weights, slope, scale }; // weights: the highest is one
}

// ---- Functions drawn from a prior -----------------------------------------------------------

export const ACTIVATIONS = { tanh: Math.tanh, ReLU: (v) => Math.max(v, 0), step: (v) => +(v > 0) };

// One function of a network with one hidden layer: weights and biases are standard Normal numbers
// times the prior's scales.
export function priorFunction(inputs, units, z, activation, scale, outputScale) {
  const act = ACTIVATIONS[activation];
  return inputs.map((x) => {
    let total = scale * z[3 * units];
    for (let h = 0; h < units; h += 1) {
      total += outputScale * z[3 * h + 2] * act(scale * (z[3 * h] * x + z[3 * h + 1]));
    }
    return total;
  });
}

// ---- Sampling -------------------------------------------------------------------------------

// -log p(w, D), up to a constant, and its gradient, of two weights: of a line through nothing but
// two features, or of a network of one tanh unit, w₂ tanh(w₁ x).
export const MODELS = {
  linear: {
    predict: (w, row) => w[0] * row[0] + w[1] * row[1],
    slopes: (w, row) => row,
  },
  network: {
    predict: (w, row) => w[1] * Math.tanh(w[0] * row[0]),
    slopes: (w, row) => {
      const t = Math.tanh(w[0] * row[0]);
      return [w[1] * (1 - t * t) * row[0], t];
    },
  },
};

export function landscape(model, rows, y, priorScale, noise) {
  const { predict, slopes } = MODELS[model];
  return {
    height: (w) => {
      let total = (w[0] ** 2 + w[1] ** 2) / priorScale ** 2;
      rows.forEach((row, i) => (total += ((y[i] - predict(w, row)) / noise) ** 2));
      return total / 2;
    },
    gradient: (w) => {
      const g = w.map((v) => v / priorScale ** 2);
      rows.forEach((row, i) => {
        const pull = (predict(w, row) - y[i]) / noise ** 2;
        slopes(w, row).forEach((v, k) => (g[k] += pull * v));
      });
      return g;
    },
  };
}

// A path of the leapfrog method: positions, momenta and energies, the start included. It ends early
// where the energy runs away.
export function leapfrog({ height, gradient }, w, push, step, steps) {
  const energy = (v, p) => height(v) + dot(p, p) / 2;
  const path = [{ w, p: push, energy: energy(w, push) }];
  let [v, p, g] = [w, push, gradient(w)];
  for (let s = 0; s < steps; s += 1) {
    const half = p.map((a, i) => a - (step / 2) * g[i]);
    v = v.map((a, i) => a + step * half[i]);
    g = gradient(v);
    p = half.map((a, i) => a - (step / 2) * g[i]);
    path.push({ w: v, p, energy: energy(v, p) });
    if (!(path.at(-1).energy - path[0].energy < 1000)) break;
  }
  return path;
}

export const acceptance = (before, after) => Math.min(1, Math.exp(before - after)) || 0;

// Draws, one after the other from w, and the share of proposals that were accepted.
export function hamiltonianDraws(ground, w, draws, step, steps, chance) {
  let moved = 0;
  const places = Array.from({ length: draws }, () => {
    const path = leapfrog(ground, w, chance.many(2), step, steps);
    if (chance.uniform() < acceptance(path[0].energy, path.at(-1).energy)) {
      w = path.at(-1).w;
      moved += 1;
    }
    return w;
  });
  return { places, rate: moved / draws };
}

// The same by a random walk with that step; of the places visited in between none is kept.
export function walkDraws({ height }, w, draws, step, steps, chance) {
  let moved = 0;
  const places = Array.from({ length: draws }, () => {
    for (let k = 0; k < steps; k += 1) {
      const next = w.map((v) => v + step * chance());
      if (chance.uniform() < acceptance(height(w), height(next))) {
        w = next;
        moved += 1;
      }
    }
    return w;
  });
  return { places, rate: moved / draws / steps };
}

// ---- Stored numbers -------------------------------------------------------------------------

const unpacked = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// What `figures.live` packed: bytes, or half floats (five bits of exponent, ten of fraction).
export function numbers({ bytes, halves }) {
  if (bytes !== undefined) return unpacked(bytes);
  const codes = new Uint16Array(unpacked(halves).buffer);
  return Float64Array.from(codes, (code) => {
    const sign = code >> 15 ? -1 : 1;
    const [power, fraction] = [(code >> 10) & 31, code & 1023];
    return sign * (power ? 2 ** (power - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  });
}

// ---- Class probabilities --------------------------------------------------------------------

export function softmax(logits) {
  const top = Math.max(...logits);
  const odds = logits.map((v) => Math.exp(v - top));
  const total = sum(odds);
  return odds.map((v) => v / total);
}

export const entropy = (p) => p.reduce((total, v) => (v > 0 ? total - v * Math.log(v) : total), 0);

// The average of the draws' probabilities, and the two parts of its entropy, in nats.
export function doubt(draws) {
  const average = draws[0].map((_, c) => mean(draws.map((p) => p[c])));
  const aleatoric = mean(draws.map(entropy));
  const whole = entropy(average);
  return { average, entropy: whole, aleatoric, epistemic: Math.max(0, whole - aleatoric) };
}

// A network of one hidden layer of ReLU units; w holds kernel, bias, kernel, bias, row by row.
export function denseProbabilities(w, x, units, classes) {
  const inputs = x.length;
  const [first, second] = [inputs * units, (inputs + 1) * units];
  const logits = Array.from({ length: classes }, (_, c) => w[second + units * classes + c]);
  for (let h = 0; h < units; h += 1) {
    let v = w[first + h];
    for (let i = 0; i < inputs; i += 1) v += x[i] * w[i * units + h];
    if (v > 0) for (let c = 0; c < classes; c += 1) logits[c] += v * w[second + h * classes + c];
  }
  return softmax(logits);
}

// A layer of 3 × 3 filters with a ReLU, then the largest of each 2 × 2 pixels. `image` holds
// channels of side × side pixels; PyTorch's order.
export function convolution(image, side, channels, kernels, biases) {
  const half = side / 2;
  const out = new Float64Array(biases.length * half * half);
  biases.forEach((bias, k) => {
    for (let r = 0; r < side; r += 1) {
      for (let c = 0; c < side; c += 1) {
        let v = bias;
        for (let m = 0; m < channels; m += 1) {
          for (let i = Math.max(0, 1 - r); i < 3 && r + i - 1 < side; i += 1) {
            for (let j = Math.max(0, 1 - c); j < 3 && c + j - 1 < side; j += 1) {
              const pixel = image[(m * side + r + i - 1) * side + c + j - 1];
              v += pixel * kernels[((k * channels + m) * 3 + i) * 3 + j];
            }
          }
        }
        const at = (k * half + (r >> 1)) * half + (c >> 1);
        out[at] = Math.max(out[at], v); // which also is the ReLU: out begins at zero
      }
    }
  });
  return out;
}

// The digits' network: two such layers and a linear one.
export function digitProbabilities([k1, b1, k2, b2, w, b], image) {
  const hidden = convolution(convolution(image, 8, 1, k1, b1), 4, b1.length, k2, b2);
  const logits = Array.from(b, (bias, c) => {
    let v = bias;
    hidden.forEach((h, i) => (v += h * w[c * hidden.length + i]));
    return v;
  });
  return softmax(logits);
}

export const distance = (a, b) => Math.sqrt(a.reduce((t, v, i) => t + (v - b[i]) ** 2, 0));

// ---- Scores of a forecast -------------------------------------------------------------------

// The standard Normal distribution function: a series near the middle, a fraction in the tails.
export function normalCdf(x) {
  const z = Math.abs(x);
  if (z > 38) return x > 0 ? 1 : 0;
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < 4) {
    let [term, total] = [z, z];
    for (let k = 3; term > 1e-17 * total; k += 2) total += term *= (z * z) / k;
    return x > 0 ? 0.5 + density * total : 0.5 - density * total;
  }
  let fraction = z;
  for (let k = 40; k > 0; k -= 1) fraction = z + k / fraction;
  return x > 0 ? 1 - density / fraction : density / fraction;
}

const normalPdf = (z) => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
// The mean of |X| for X ~ N(m, s²).
const meanDistance = (m, s) => 2 * s * normalPdf(m / s) + m * (2 * normalCdf(m / s) - 1);

// A Normal, part of whose mass is moved to narrow Normals at the whole grades: its parts, each with
// weight, mean and deviation. Each grade gets what the Normal gives to it ± one half.
export function spiked(m, s, share, width, grades) {
  if (!share) return [[1, m, s]];
  const edges = grades.slice(1).map((g) => normalCdf((g - 0.5 - m) / s));
  const masses = grades.map((_, k) => (edges[k] ?? 1) - (edges[k - 1] ?? 0));
  return [[1 - share, m, s], ...grades.map((g, k) => [share * masses[k], g, width])];
}

export const mixtureCdf = (parts, y) =>
  parts.reduce((total, [w, m, s]) => total + w * normalCdf((y - m) / s), 0);
export const mixturePdf = (parts, y) =>
  parts.reduce((total, [w, m, s]) => total + (w * normalPdf((y - m) / s)) / s, 0);

// Scores of one forecast of one grade; `mass` is the probability of the grade ± one half.
export function score(parts, y) {
  let crps = 0;
  parts.forEach(([w, m, s], i) => {
    crps += w * meanDistance(y - m, s);
    for (let j = 0; j < i; j += 1) {
      crps -= w * parts[j][0] * meanDistance(m - parts[j][1], Math.hypot(s, parts[j][2]));
    }
    crps -= (w * w * s) / Math.sqrt(Math.PI);
  });
  return {
    nll: -Math.log(mixturePdf(parts, y)),
    discretised: -Math.log(mixtureCdf(parts, y + 0.5) - mixtureCdf(parts, y - 0.5)),
    crps,
    pit: mixtureCdf(parts, y),
  };
}

// ---- Abstaining -----------------------------------------------------------------------------

// Share kept and error rate among the kept, at a threshold of the doubt.
export function keptAndRisk(doubts, wrong, threshold) {
  let [kept, errors] = [0, 0];
  doubts.forEach((v, i) => {
    if (v <= threshold) {
      kept += 1;
      errors += wrong[i];
    }
  });
  return { kept, errors, coverage: kept / doubts.length, risk: kept ? errors / kept : 0 };
}

// The probability of at most k successes in n trials, each of probability p.
export function binomialCdf(k, n, p) {
  let [log, total] = [n * Math.log1p(-p), 0];
  for (let i = 0; i <= k; i += 1) {
    total += Math.exp(log);
    log += Math.log((n - i) / (i + 1)) + Math.log(p) - Math.log1p(-p);
  }
  return Math.min(1, total);
}

// The last threshold whose own error rate is at most the promise, and the last up to which it is
// proved (bnnbook's `guaranteed_threshold`); minus infinity keeps nothing.
export function obviousThreshold(doubts, wrong, thresholds, promise) {
  const good = thresholds.filter((t) => keptAndRisk(doubts, wrong, t).risk <= promise);
  return good.at(-1) ?? -Infinity;
}

export function provedThreshold(doubts, wrong, thresholds, promise, confidence) {
  const fails = thresholds.findIndex((t) => {
    const { kept, errors } = keptAndRisk(doubts, wrong, t);
    return binomialCdf(errors, kept, promise) > 1 - confidence;
  });
  return (fails < 0 ? thresholds.at(-1) : thresholds[fails - 1]) ?? -Infinity;
}
