"use strict";
// A dream of `dreamgym` in JavaScript: M, V's decoder, the noise, the rules and the policies, without
// a page around them. It follows `World.step` in Python: the same seed and the same actions make the
// same dream, up to the rounding of sums.

const MASK = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n; // these, LANES and BITS: `dreamgym.noise`
const MULTIPLIERS = [0xbf58476d1ce4e5b9n, 0x94d049bb133111ebn];
const LANES = 1n << 16n;
const BITS = 23n;
const BOUND = 50; // `dreamgym.world.BOUND`
const SIDE = 64; // rows and columns of a picture

/** Hash a 64-bit word. */
function mix(x) {
  x = ((x ^ (x >> 30n)) * MULTIPLIERS[0]) & MASK;
  x = ((x ^ (x >> 27n)) * MULTIPLIERS[1]) & MASK;
  return x ^ (x >> 31n);
}

/** Return the key of the noise of an episode under a seed. */
function keyOf(seed, episode) {
  return mix((mix((BigInt(seed) + GOLDEN) & MASK) + BigInt(episode) * GOLDEN) & MASK);
}

/** Return `count` words of a step from word `first` on, each as two numbers in (0, 1). */
function uniforms(key, step, first, count) {
  const high = new Float32Array(count), low = new Float32Array(count);
  for (let j = 0; j < count; j++) {
    const counter = BigInt(step) * LANES + BigInt(first + j + 1);
    const word = mix((key + BigInt.asUintN(64, counter * GOLDEN)) & MASK);
    high[j] = (Number(word >> (64n - BITS)) + 0.5) / 2 ** Number(BITS);
    low[j] = (Number((word >> 8n) & ((1n << BITS) - 1n)) + 0.5) / 2 ** Number(BITS);
  }
  return [high, low];
}

/** Return twice as many normal numbers as there are pairs of uniform ones (Box and Muller). */
function gaussian(radius, angle) {
  const half = radius.length, out = new Float32Array(2 * half);
  for (let j = 0; j < half; j++) {
    const r = Math.sqrt(-2 * Math.log(radius[j])), turn = 2 * Math.PI * angle[j];
    out[j] = r * Math.cos(turn);
    out[half + j] = r * Math.sin(turn);
  }
  return out;
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** Write 16-bit floating-point numbers, given by their bits, into an array of 32-bit ones. */
function widen(halves, into) {
  const table = new Float32Array(1 << 16);
  for (let bits = 0; bits < table.length; bits++) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    table[bits] = exponent === 31 ? NaN
      : sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }
  for (let i = 0; i < halves.length; i++) {
    const value = table[halves[i]];
    if (value !== value) { // NaN, the only number that differs from itself
      throw new Error("The weights in this page are damaged: one is not a number. Export it again.");
    }
    into[i] = value;
  }
}

/** The weights of a world, and how they are multiplied: by WebAssembly, or by plain JavaScript. */
class Model {
  /**
   * @param {object} config what `dreamgym export-web` writes: sizes, rules, policies, tensors
   * @param {Uint16Array} halves all tensors, one after the other, as 16-bit floating-point numbers
   * @param {Uint8Array|null} wasm the kernel; null to do without
   */
  constructor(config, halves, wasm) {
    this.config = config;
    const end = config.tensors.reduce((most, each) => Math.max(most, each.at + each.size), 0);
    if (halves.length !== end) {
      throw new Error(`The weights in this page are damaged: ${halves.length} numbers instead of ` +
        `${end}. Export the page again.`);
    }
    const { z, hidden, actions, mixtures, heads } = config;
    this.outputs = 4 * Math.ceil((3 * mixtures * z + heads.length) / 4);
    const inputs = z + actions + hidden;
    const scratch = [inputs, 4 * hidden, hidden, this.outputs, z, 1024, 5 * 5 * 128, 13 * 13 * 64,
      30 * 30 * 32, SIDE * SIDE * 3 + 64];
    const total = end + scratch.reduce((sum, size) => sum + 4 * Math.ceil(size / 4), 0);
    this.memory = this.#connect(wasm, 4 * total);
    widen(halves, this.memory);
    this.at = Object.fromEntries(config.tensors.map((each) => [each.name, each.at]));
    this.sizes = Object.fromEntries(config.tensors.map((each) => [each.name, each.size]));
    let next = end;
    this.buffers = scratch.map((size) => {
      const at = next;
      next += 4 * Math.ceil(size / 4);
      return { at, array: this.memory.subarray(at, at + size) };
    });
  }

  /** Make the memory, and choose `this.add` and `this.engine`. Addresses count numbers. */
  #connect(wasm, bytes) {
    if (wasm) {
      try {
        const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) });
        const made = new WebAssembly.Instance(new WebAssembly.Module(wasm), { env: { memory } });
        const add = made.exports.add;
        this.add = (out, weight, x, inputs, rows, length, stride) =>
          add(4 * out, 4 * weight, 4 * x, inputs, rows, 4 * length, 4 * stride);
        this.engine = "WebAssembly";
        return new Float32Array(memory.buffer);
      } catch (error) {
        this.why = String(error); // such as an old browser without SIMD
      }
    }
    const memory = new Float32Array(Math.ceil(bytes / 4));
    this.add = (out, weight, x, inputs, rows, length, stride) => {
      for (let k = 0; k < inputs; k++) {
        const value = memory[x + k];
        if (value === 0) {
          weight += rows * length;
          continue;
        }
        for (let r = 0; r < rows; r++) {
          const to = out + r * stride;
          for (let j = 0; j < length; j++) memory[to + j] += value * memory[weight + j];
          weight += length;
        }
      }
    };
    this.engine = "JavaScript";
    return memory;
  }

  tensor(name) {
    return this.memory.subarray(this.at[name], this.at[name] + this.sizes[name]);
  }

  /** Let M take in z and an action; return the outputs of its head, and its new h and c. */
  remember(z, action, h, c) {
    const { config, buffers } = this, cells = config.hidden;
    const [x, gates, hidden, out] = buffers;
    x.array.set(z);
    x.array.set(action, z.length);
    x.array.set(h, z.length + action.length);
    gates.array.set(this.tensor("gates.bias"));
    this.add(gates.at, this.at["gates"], x.at, x.array.length, 1, 4 * cells, 0);
    const newH = new Float32Array(cells), newC = new Float32Array(cells);
    for (let j = 0; j < cells; j++) {
      const i = gates.array[j], f = gates.array[cells + j];
      const g = gates.array[2 * cells + j], o = gates.array[3 * cells + j];
      newC[j] = sigmoid(f) * c[j] + sigmoid(i) * Math.tanh(g);
      newH[j] = sigmoid(o) * Math.tanh(newC[j]);
    }
    hidden.array.set(newH);
    out.array.set(this.tensor("head.bias"));
    this.add(out.at, this.at["head"], hidden.at, cells, 1, this.outputs, 0);
    return { out: out.array, h: newH, c: newC };
  }

  /** Draw the next z from the outputs of M's head; see `mdn_rnn.sample`. */
  draw(out, mixture, normal, tau) {
    const { z: size, mixtures } = this.config, count = mixtures * size;
    const next = new Float32Array(size), wide = Math.sqrt(tau), weights = new Float64Array(mixtures);
    for (let j = 0; j < size; j++) {
      let best = -Infinity;
      for (let k = 0; k < mixtures; k++) best = Math.max(best, out[k * size + j]);
      let sum = 0;
      for (let k = 0; k < mixtures; k++) {
        sum += Math.exp((out[k * size + j] - best) / Math.max(tau, 1.2e-38));
        weights[k] = sum;
      }
      let k = 0;
      while (k < mixtures - 1 && weights[k] < mixture[j] * sum) k++;
      const mean = out[count + k * size + j], spread = Math.exp(out[2 * count + k * size + j]);
      next[j] = Math.min(BOUND, Math.max(-BOUND, mean + wide * spread * normal[j]));
    }
    return next;
  }

  /** Write V's picture of z as red, green, blue and opacity into `pixels` (64 · 64 · 4 bytes). */
  decode(z, pixels) {
    const [, , , , code, dense, first, second, third, last] = this.buffers;
    code.array.set(z);
    dense.array.set(this.tensor("dense.bias"));
    this.add(dense.at, this.at["dense"], code.at, z.length, 1, 1024, 0);
    this.#spread(dense, 1, 1024, first, 5, 128, 5, "decoder.0", 128);
    this.#spread(first, 5, 128, second, 13, 64, 5, "decoder.1", 64);
    this.#spread(second, 13, 64, third, 30, 32, 6, "decoder.2", 32);
    this.#spread(third, 30, 32, last, SIDE, 3, 6, "decoder.3", 0);
    for (let pixel = 0; pixel < SIDE * SIDE; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        pixels[4 * pixel + channel] = Math.round(255 * sigmoid(last.array[3 * pixel + channel]));
      }
      pixels[4 * pixel + 3] = 255;
    }
    return pixels;
  }

  /** Do a transposed convolution of stride 2: `width`² pixels of `inputs` numbers become `size`². */
  #spread(from, width, inputs, to, size, outputs, kernel, name, rectified) {
    const bias = this.tensor(`${name}.bias`), length = 4 * Math.ceil(kernel * outputs / 4);
    for (let j = 0; j < size * size * outputs; j++) to.array[j] = bias[j % outputs];
    for (let y = 0; y < width; y++) {
      for (let x = 0; x < width; x++) {
        const out = to.at + (2 * y * size + 2 * x) * outputs;
        const pixel = from.at + (y * width + x) * inputs;
        this.add(out, this.at[name], pixel, inputs, kernel, length, size * outputs);
      }
    }
    if (rectified) {
      for (let j = 0; j < size * size * outputs; j++) if (to.array[j] < 0) to.array[j] = 0;
    }
  }
}

/** What comes of a step in a game whose rules are known; see `dreamgym.games.rules`. */
const RULES = {
  survival: {
    begin: (budget) => [budget],
    settle(rules, counts, odds, [first, second]) {
      const hit = first < odds[0], roll = 1 + Math.floor(second * rules.faces);
      const health = Math.max(0, counts[0] - (hit ? rules.damage * roll : 0));
      return { counts: [health], reward: 1, over: rules.death === "health" ? health <= 0 : first < odds[1] };
    },
  },
  lap: {
    begin: (budget) => [budget, 0, budget],
    settle(rules, [left, missed, whole], odds, [first, second], step) {
      const touched = (first < odds[0]) + (first < odds[1]);
      const tiles = Math.min(touched, left - missed);
      left -= tiles;
      let lost = 0;
      for (const chance of odds.slice(3)) lost += 1 - second < chance;
      missed += Math.min(lost, left - missed);
      const fallen = second < odds[2], over = left <= missed;
      const rest = over && left > 0 ? Math.max(rules.limit - 1 - step, 0) : 0;
      const paid = rules.lap * tiles / whole - rules.cost - rules.cost * rest;
      return { counts: [left, missed, whole], reward: fallen ? -rules.fall : paid, over: fallen || over };
    },
  },
};

/** One dream: its state, from which it can also go on later. */
class Dream {
  constructor(model, seed = 0, tau = model.config.temperature) {
    this.model = model;
    this.tau = tau;
    this.reset(seed);
  }

  /** Begin a dream at a real first frame, as `World.start` does. */
  reset(seed, episode = 0) {
    const { model } = this, { z: size, hidden, rules } = model.config;
    this.seed = seed;
    this.key = keyOf(seed, episode);
    const [which] = uniforms(this.key, -1, size, 1);
    const budgets = model.tensor("starts.budget");
    const start = Math.trunc(Math.fround(which[0] * budgets.length));
    const mean = model.tensor("starts.mean").subarray(start * size, (start + 1) * size);
    const logvar = model.tensor("starts.logvar").subarray(start * size, (start + 1) * size);
    const normal = gaussian(...uniforms(this.key, -1, 0, size / 2));
    this.z = mean.map((value, j) => value + Math.exp(logvar[j] / 2) * normal[j]);
    this.h = new Float32Array(hidden);
    this.c = new Float32Array(hidden);
    this.counts = RULES[rules.kind].begin(budgets[start]);
    this.steps = 0;
    this.score = 0;
    this.over = false;
    this.odds = model.config.heads.map(() => 0);
    return this;
  }

  /** Dream one step under an action, a list of the numbers that M takes. */
  step(action) {
    const { model } = this, { z: size, rules, mixtures, heads, max_steps: limit } = model.config;
    const [high, low] = uniforms(this.key, this.steps, 0, size + 1), half = size / 2;
    const mixture = new Float32Array(size);
    mixture.set(high.subarray(0, half));
    mixture.set(low.subarray(0, half), half);
    const normal = gaussian(high.subarray(half, size), low.subarray(half, size));
    const { out, h, c } = model.remember(this.z, action, this.h, this.c);
    this.z = model.draw(out, mixture, normal, this.tau);
    [this.h, this.c] = [h, c];
    this.odds = heads.map((_, head) => sigmoid(out[3 * mixtures * size + head]));
    const chance = [high[size], low[size]];
    const came = RULES[rules.kind].settle(rules, this.counts, this.odds, chance, this.steps);
    this.counts = came.counts;
    this.steps += 1;
    this.reward = came.reward;
    this.score += came.reward;
    this.over = came.over || this.steps >= limit;
    return this;
  }

  /** Return what a policy sees: `z`, `zh` or `zhc`, whose order is z, c, h. */
  observe(kind) {
    const parts = { z: [this.z], zh: [this.z, this.h], zhc: [this.z, this.c, this.h] }[kind];
    const seen = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      seen.set(part, at);
      at += part.length;
    }
    return seen;
  }

  /** Return all that the rest of the dream depends on; nothing of it is ever written to. */
  save() {
    const { z, h, c, key, counts, steps, score, over, odds, seed, reward } = this;
    return { z, h, c, key, counts, steps, score, over, odds, seed, reward };
  }

  load(saved) {
    return Object.assign(this, saved);
  }
}

/** Return a game's action for outputs in [-1, 1]; see `dreamgym.envs.actions.from_outputs`. */
function fromOutputs(config, outputs) {
  const { deadband, stretched, low, high } = config.action;
  if (deadband) return outputs.map((x) => (x > deadband) - (x < -deadband));
  return outputs.map((x, j) => {
    const part = stretched.includes(j) ? low[j] + (high[j] - low[j]) * ((x + 1) / 2) : x;
    return Math.min(high[j], Math.max(low[j], part));
  });
}

/** C, the controller: its action, and how much each input pushes each output. */
class Controller {
  constructor(config, shape) {
    this.config = config;
    Object.assign(this, shape); // inputs, actions, bias, hidden, observation, weights
  }

  act(seen) {
    let x = seen, rest = 0;
    const sizes = this.hidden ? [this.inputs, this.hidden, this.actions] : [this.inputs, this.actions];
    for (let layer = 0; layer + 1 < sizes.length; layer++) {
      const [inputs, outputs] = [sizes[layer], sizes[layer + 1]], out = [];
      for (let o = 0; o < outputs; o++) {
        let sum = this.bias ? this.weights[rest + inputs * outputs + o] : 0;
        for (let i = 0; i < inputs; i++) sum += this.weights[rest + o * inputs + i] * x[i];
        out.push(Math.tanh(sum));
      }
      rest += (inputs + (this.bias ? 1 : 0)) * outputs;
      x = out;
    }
    return fromOutputs(this.config, x);
  }

  /** Return w · x of output `output` for each input; only for a controller without hidden layers. */
  pushes(seen, output = 0) {
    if (this.hidden) return null;
    return Float32Array.from(seen, (x, i) => x * this.weights[output * this.inputs + i]);
  }
}

/** An agent of hidden layers; see `dreamgym.models.agent`. */
class Agent {
  constructor(config, shape, model) {
    this.config = config;
    Object.assign(this, shape); // mean, spread, clip, activation, acts, low, high, observation
    this.layers = Array.from({ length: shape.layers }, (_, number) => ({
      weight: model.tensor(`agent.${number}`), bias: model.tensor(`agent.${number}.bias`),
    }));
  }

  act(seen) {
    const bend = this.activation === "relu" ? (x) => Math.max(0, x) : Math.tanh;
    let x = Array.from(seen, (value, i) => (value - this.mean[i]) / this.spread[i]);
    if (this.clip) x = x.map((value) => Math.min(this.clip, Math.max(-this.clip, value)));
    this.layers.forEach(({ weight, bias }, number) => {
      const out = Array.from(bias, (start, o) => {
        let sum = start;
        for (let i = 0; i < x.length; i++) sum += weight[o * x.length + i] * x[i];
        return sum;
      });
      x = number + 1 < this.layers.length ? out.map(bend) : out;
    });
    if (this.acts === "moves") return this.config.action.moves[x.indexOf(Math.max(...x))];
    const { low, high } = this;
    const chosen = this.acts === "box" ? x.map((value, j) => Math.min(high[j], Math.max(low[j], value)))
      : x.map((value, j) => low[j] + 0.5 * (Math.tanh(value) + 1) * (high[j] - low[j]));
    const { deadband } = this.config.action;
    return deadband ? chosen.map((value) => (value > deadband) - (value < -deadband)) : chosen;
  }
}

if (typeof module !== "undefined") {
  module.exports = { Agent, Controller, Dream, Model, gaussian, keyOf, mix, uniforms };
}
