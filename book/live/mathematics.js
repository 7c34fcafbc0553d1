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
  const next = () =>
    Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
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
