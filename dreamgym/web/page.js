"use strict";
// The page around `dream.js`: who drives, what is shown, and what keys, mouse and touch do.

const $ = (id) => document.getElementById(id);
const ICONS = { you: "☺", controller: "⚙", agent: "♟" }; // signs that fonts without emoji have too
const NAMES = { you: "you", controller: "controller C", agent: "agent" };
const REWIND = 10; // seconds
const SHOWN = 300; // steps in the chart
const WAIT = 1.2; // seconds that the last picture of a dream stays
const RAMP = 0.1, DECAY = 0.9; // of a pressed and of a released key, each frame, for analog actions

/** Show a sentence above the game. */
function tell(error) {
  $("message").textContent = error.message || String(error);
  $("message").className = "";
  $("message").hidden = false;
}

/** Show a sentence instead of the game. */
function fail(error) {
  tell(error);
  $("game").hidden = true;
}

function bytes(id) {
  const text = atob($(id).textContent.trim()), out = new Uint8Array(text.length);
  for (let i = 0; i < out.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

class Page {
  constructor() {
    this.config = JSON.parse($("data").textContent);
    const weights = bytes("weights");
    const simple = new URLSearchParams(location.search).has("javascript");
    const wasm = simple || typeof WebAssembly === "undefined" ? null : bytes("kernel");
    this.model = new Model(this.config, new Uint16Array(weights.buffer, 0, weights.length >> 1), wasm);
    const { policies } = this.config;
    this.policies = {};
    if (policies.agent) this.policies.agent = new Agent(this.config, policies.agent, this.model);
    if (policies.controller) this.policies.controller = new Controller(this.config, policies.controller);
    const asked = new URLSearchParams(location.hash.slice(1));
    const tau = Number(asked.get("tau")), seed = Number(asked.get("seed"));
    this.tau = asked.has("tau") && tau >= 0 && Number.isFinite(tau) ? tau : this.config.temperature;
    this.seed = Number.isSafeInteger(seed) && seed >= 0 ? seed : 0;
    this.tau2 = 0.1;
    this.driver = this.policies.controller ? "controller" : Object.keys(this.policies)[0] || "you";
    this.before = this.driver; // who gets the wheel back
    this.pressed = new Set();
    this.pointer = null;
    this.analog = this.config.action.low.map(() => 0);
    this.paused = this.two = this.free = this.busy = false;
    this.reality = this.later = null; // `later` is what to do once the game has answered
    this.whole = 0; // a count of the real game's that it does not tell: the tiles of its track
    this.pixels = new ImageData(SIDE, SIDE);
    this.#build();
    this.begin(this.seed);
    $("game").hidden = false;
    requestAnimationFrame((now) => this.frame(now));
  }

  begin(seed) {
    if (this.#put(() => this.begin(seed))) return;
    this.seed = seed;
    this.dreams = [new Dream(this.model, seed, this.tau), new Dream(this.model, seed, this.tau2)];
    this.past = [];
    this.curve = [];
    this.rest = 0;
    this.waited = 0;
    this.action = this.config.action.low.map(() => 0);
    $("seed").value = seed;
    this.#link();
    this.free = false;
    $("message").hidden = true;
    if (this.reality) this.#ask({ seed });
    else this.draw();
  }

  /** Show the real game beside the dream, or the dream alone again. */
  real() {
    if (!this.config.served || this.#put(() => this.real())) return;
    if (this.two) this.twice();
    if (this.reality) this.reality.close();
    this.#beside(this.reality ? null : new Reality(this.config));
    this.begin(this.seed);
  }

  /** Make room for a real game beside the dream, or for the dream alone if there is none. */
  #beside(reality) {
    this.reality = reality;
    $("real").setAttribute("aria-pressed", Boolean(reality));
    $("reality").hidden = $("seen").hidden = $("free").hidden = $("apart").hidden = !reality;
  }

  /** From now on let the dream go on alone, under the same actions as the game. */
  release() {
    if (!this.#put(() => this.release()) && this.reality) this.free = true;
  }

  /** Put something off until the real game has answered, and return whether it has to wait. */
  #put(later) {
    if (this.busy) this.later = later;
    return this.busy;
  }

  /** Ask for the real game's next moment. Until it is let go, the dream is where the game is. */
  async #ask(what) {
    const { reality, dreams: [dream] } = this;
    this.busy = true;
    if (!reality.z) $("caption4").textContent = "the real game is loading";
    try {
      await reality.ask(what);
      const { z, h, c, steps, score, over } = reality;
      if ("seed" in what) [this.whole] = reality.counts;
      if (!this.free) {
        const counts = dream.counts.map((_, i) => reality.counts[i] ?? this.whole);
        dream.load({ z, h, c, steps, score, over, counts });
      } else if ("action" in what) {
        this.#alone();
      }
    } catch (error) {
      tell(error);
      if (this.reality === reality) this.#beside(null); // the dream goes on alone
    }
    this.busy = false;
    this.draw();
    const { later } = this;
    this.later = null;
    if (later) later();
  }

  /** Let the dream that was let go take its step. */
  #alone() {
    const [dream] = this.dreams;
    if (dream.over) return;
    dream.step(this.action);
    this.curve.push([dream.reward, this.#danger(dream)]);
  }

  /** Let the real game take a step, and the dream too once it is let go. */
  #together() {
    const [dream] = this.dreams, { reality } = this;
    const policy = this.policies[this.driver], keys = this.#hands();
    const seen = { ...dream, observe: Dream.prototype.observe, z: reality.z, h: reality.h, c: reality.c };
    this.action = policy ? policy.act(seen.observe(policy.observation)) : keys;
    if (!reality.over) {
      this.#ask({ action: [...this.action] });
    } else {
      this.#alone();
      this.draw();
    }
  }

  /** Let each dream that is shown take one step, and remember where it was. */
  advance() {
    if (this.reality) {
      if (!this.busy && !this.ended) this.#together();
      return;
    }
    const [first, second] = this.dreams, keys = this.#hands();
    if (first.over) return;
    this.past.push([first.save(), second.save(), this.curve.length]);
    if (this.past.length > REWIND * this.config.fps) this.past.shift();
    this.action = this.#chosen(first, keys);
    first.step(this.action);
    if (this.two && !second.over) second.step(this.#chosen(second, keys));
    this.curve.push([first.reward, this.#danger(first)]);
    if (first.over) this.#remember();
  }

  /** Go back up to ten seconds, and wait there. */
  rewind() {
    if (!this.past.length || this.reality) return;
    const [first, second, length] = this.past[0];
    this.dreams[0].load(first);
    this.dreams[1].load(second);
    this.curve.length = length;
    this.past = [];
    this.pause(true);
    this.draw();
  }

  pause(paused = !this.paused) {
    this.paused = paused;
    $("pause").textContent = paused ? "Go on" : "Pause";
  }

  frame(now) {
    const passed = Math.min(0.1, (now - (this.last ?? now)) / 1000); // a hidden tab has no frames
    this.last = now;
    if (!this.paused) {
      this.rest += passed * this.config.fps;
      let moved = false;
      for (; this.rest >= 1; this.rest -= 1) {
        this.advance();
        moved = true;
      }
      if (this.ended && (this.waited += passed) > WAIT) this.begin(this.seed + 1);
      else if (moved) this.draw();
    }
    requestAnimationFrame((later) => this.frame(later));
  }

  /** Whether all that is shown is over. */
  get ended() {
    return this.dreams[0].over && (!this.reality || this.reality.over);
  }

  draw() {
    if (this.reality && this.reality.z) this.#compare();
    this.dreams.slice(0, this.two ? 2 : 1).forEach((dream, number) => {
      this.model.decode(dream.z, this.pixels.data);
      $(number ? "picture2" : "picture").getContext("2d").putImageData(this.pixels, 0, 0);
      const end = dream.over ? ": over" : "";
      $(number ? "caption2" : "caption").textContent = `τ = ${dream.tau}, ${dream.steps} steps${end}`;
    });
    const dream = this.dreams[0], best = this.#best();
    const counts = this.config.counts.map((name, i) => `${name.replace("_", " ")} ${Math.round(dream.counts[i])}`);
    $("who").textContent = ICONS[this.driver];
    $("facts").textContent = [
      `${NAMES[this.driver]}: score ${dream.score.toFixed(Number.isInteger(dream.score) ? 0 : 1)}`,
      `best ${best === null ? "none yet" : best.toFixed(0)}`, ...counts,
      `action ${this.action.map((x) => x.toFixed(1)).join(", ")}`,
    ].join(" · ");
    this.#chart();
    if ($("latents").open && !this.paused) this.#slide();
    if ($("view").open) this.#pushes();
  }

  /** Show the game, what V sees of it, and by how much the dream's picture differs from that. */
  #compare() {
    const { reality, dreams: [dream] } = this, seen = new Uint8ClampedArray(this.pixels.data.length);
    $("picture4").getContext("2d").putImageData(reality.frame, 0, 0);
    $("caption4").textContent = `the game, ${reality.steps} steps, score ${reality.score.toFixed(0)}${reality.over ? ": over" : ""}`;
    this.model.decode(reality.z, seen);
    $("picture3").getContext("2d").putImageData(new ImageData(seen, SIDE, SIDE), 0, 0);
    this.model.decode(dream.z, this.pixels.data);
    let sum = 0;
    for (let i = 0; i < seen.length; i++) sum += (seen[i] - this.pixels.data[i]) ** 2;
    this.distance = Math.sqrt(sum / (3 * SIDE * SIDE));
    $("distance").value = this.distance;
    $("far").textContent = `${this.distance.toFixed(1)} of 255 a pixel${this.free ? "" : ", not let go yet"}`;
  }

  #chosen(dream, keys) {
    const policy = this.policies[this.driver];
    return policy ? policy.act(dream.observe(policy.observation)) : keys;
  }

  /** Return the action of keys and pointer. Where actions are analog, keys move them by and by. */
  #hands() {
    const { keys, action } = this.config, { low, high, deadband } = action;
    const wanted = low.map(() => 0);
    for (const key of this.pressed) (keys[key] || []).forEach((x, j) => { wanted[j] += x; });
    if (this.pointer) this.pointer.forEach((x, j) => { wanted[j] = x; });
    this.analog = this.analog.map((x, j) => {
      if (deadband || this.pointer) return wanted[j];
      return wanted[j] ? x + RAMP * Math.sign(wanted[j]) : x * DECAY;
    }).map((x, j) => Math.min(high[j], Math.max(low[j], x)));
    return [...this.analog];
  }

  /** Return the chance that the next step brings what a player fears: a hit, or a missed tile. */
  #danger(dream) {
    const { heads } = this.config, at = Math.max(heads.indexOf("hit"), heads.indexOf("miss"));
    return dream.odds[at] ?? 0;
  }

  #chart() {
    const canvas = $("chart"), width = canvas.clientWidth * devicePixelRatio, height = 90 * devicePixelRatio;
    if (canvas.width !== width) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const curve = this.curve.slice(-SHOWN), most = Math.max(1, ...curve.map(([reward]) => Math.abs(reward)));
    context.clearRect(0, 0, width, height);
    [["--reward", ([reward]) => 0.5 - 0.45 * reward / most], ["--chance", ([, chance]) => 0.97 - 0.94 * chance]]
      .forEach(([colour, of]) => {
        context.strokeStyle = style.getPropertyValue(colour);
        context.lineWidth = 1.5 * devicePixelRatio;
        context.beginPath();
        curve.forEach((point, i) => context.lineTo(i / SHOWN * width, of(point) * height));
        context.stroke();
      });
  }

  #pushes() {
    const policy = this.policies.controller, dream = this.dreams[0];
    const rows = [], size = this.config.z, cells = this.config.hidden;
    const kind = policy && policy.observation, order = { z: "z", zh: "zh", zhc: "zch" }[kind] || "";
    const names = this.config.action.low.length > 1 ? ["steering", "gas", "brake"] : ["left or right"];
    for (let output = 0; policy && !policy.hidden && output < names.length; output++) {
      const pushes = policy.pushes(dream.observe(kind), output);
      let at = 0;
      for (const part of order) {
        const end = at + (part === "z" ? size : cells);
        rows.push([`${part} → ${names[output]}`, pushes.slice(at, end).reduce((sum, x) => sum + x, 0)]);
        at = end;
      }
    }
    const most = Math.max(1e-9, ...rows.map(([, x]) => Math.abs(x)));
    $("pushes").replaceChildren(...rows.map(([name, x]) => {
      const row = document.createElement("div"), share = 50 * Math.abs(x) / most;
      row.className = "bar";
      row.innerHTML = "<span></span><b><i></i></b><span></span>";
      row.children[0].textContent = name;
      row.children[2].textContent = x.toFixed(2);
      const bar = row.querySelector("i");
      bar.style.width = `${share}%`;
      bar.style.left = `${x < 0 ? 50 - share : 50}%`;
      return row;
    }));
    if (!rows.length) $("pushes").textContent = "There is no linear controller in this page.";
  }

  #slide() {
    for (const slider of $("sliders").querySelectorAll("input")) slider.value = this.dreams[0].z[slider.dataset.latent];
  }

  #best(score = null) {
    try {
      const name = `dreamgym ${this.config.game} ${this.driver} ${this.tau}`;
      const best = localStorage.getItem(name);
      if (score !== null && (best === null || score > Number(best))) localStorage.setItem(name, score);
      return best === null ? null : Number(best);
    } catch {
      return null; // a browser may keep nothing for a file
    }
  }

  #remember() {
    this.#best(this.dreams[0].score);
  }

  #link() {
    try {
      history.replaceState(null, "", `#game=${this.config.game}&tau=${this.tau}&seed=${this.seed}`);
    } catch {
      // a frame in another page may not change its address
    }
  }

  drive(driver) {
    this.driver = driver;
    if (driver !== "you") this.before = driver;
    $("driver").value = driver;
  }

  heat(tau) {
    this.tau = tau;
    this.dreams[0].tau = tau;
    $("tau").value = tau;
    $("shown").textContent = tau.toFixed(2);
    this.#link();
    this.draw();
  }

  heat2(tau) {
    this.tau2 = tau;
    this.dreams[1].tau = tau;
    $("shown2").textContent = tau.toFixed(2);
    $("tau2").value = tau;
    this.draw();
  }

  /** Show a second dream from where the first is now, or only one again. */
  twice() {
    if (this.#put(() => this.twice())) return;
    if (this.reality) this.real();
    this.two = !this.two;
    this.dreams[1].load(this.dreams[0].save());
    this.dreams[1].tau = this.tau2;
    $("two").setAttribute("aria-pressed", this.two);
    $("second").hidden = $("other").hidden = !this.two;
    this.draw();
  }

  #build() {
    const { config } = this;
    for (const driver of [...Object.keys(this.policies), "you"]) {
      $("driver").append(new Option(`${ICONS[driver]} ${NAMES[driver]}`, driver));
    }
    $("driver").value = this.driver;
    $("driver").onchange = (event) => this.drive(event.target.value);
    $("tau").value = this.tau;
    $("shown").textContent = this.tau.toFixed(2);
    $("tau").oninput = (event) => this.heat(Number(event.target.value));
    $("tau2").value = this.tau2;
    $("shown2").textContent = this.tau2.toFixed(2);
    $("tau2").oninput = (event) => this.heat2(Number(event.target.value));
    for (const [tau, words] of config.stories) {
      const button = document.createElement("button");
      button.textContent = `${tau}: ${words}`;
      button.onclick = () => this.heat(tau);
      $("stories").append(button);
    }
    $("seed").onchange = (event) => {
      const seed = Number(event.target.value);
      if (Number.isSafeInteger(seed) && seed >= 0) this.begin(seed);
      else event.target.value = this.seed;
    };
    $("pause").onclick = () => this.pause();
    $("step").onclick = () => { this.pause(true); this.advance(); this.draw(); };
    $("rewind").onclick = () => this.rewind();
    $("again").onclick = () => this.begin(this.seed + 1);
    $("two").onclick = () => this.twice();
    $("real").hidden = !config.served;
    $("real").onclick = () => this.real();
    $("free").onclick = () => this.release();
    $("share").onclick = async () => {
      try {
        await navigator.clipboard.writeText(location.href);
        $("share").textContent = "Copied";
      } catch {
        $("share").textContent = "Copy the address above";
      }
    };
    $("danger").textContent = config.heads.includes("hit") ? "chance of a hit" : "chance to miss a tile";
    for (const latent of config.latents) {
      const label = document.createElement("label");
      label.textContent = `z ${latent}`;
      const slider = document.createElement("input");
      Object.assign(slider, { type: "range", min: -3, max: 3, step: 0.05 });
      slider.dataset.latent = latent;
      slider.oninput = () => {
        this.pause(true);
        const z = this.dreams[0].z.slice(); // what was saved keeps its own
        z[latent] = Number(slider.value);
        this.dreams[0].z = z;
        this.draw();
      };
      label.append(slider);
      $("sliders").append(label);
    }
    $("latents").ontoggle = () => this.#slide();
    $("view").ontoggle = () => this.draw();
    const does = Object.keys(config.keys).map((key) => key.replace("Arrow", "").toLowerCase()).join(", ");
    $("help").textContent = `Arrow keys (${does}), or the mouse or a finger on the picture, drive; ` +
      "M gives the wheel back. Space pauses, . steps, R rewinds, N begins a new dream, T shows two. " +
      (config.served ? "G shows the real game beside it, L lets go of reality. " : "") +
      `Computed by ${this.model.engine}${this.model.why ? ` (${this.model.why})` : ""}.`;
    addEventListener("keydown", (event) => this.#key(event, true));
    addEventListener("keyup", (event) => this.#key(event, false));
    addEventListener("blur", () => this.pressed.clear());
    const canvas = $("picture");
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#point(event);
    };
    canvas.onpointermove = (event) => { if (event.buttons) this.#point(event); };
    canvas.onpointerup = canvas.onpointercancel = () => { this.pointer = null; };
  }

  #key(event, down) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (["INPUT", "SELECT"].includes(event.target.tagName) && event.target.type !== "range") return;
    if (event.key in this.config.keys) {
      if (event.target.type === "range") return;
      event.preventDefault();
      if (down) {
        this.pressed.add(event.key);
        this.drive("you");
      } else {
        this.pressed.delete(event.key);
      }
      return;
    }
    const does = {
      " ": () => this.pause(), ".": () => $("step").onclick(), r: () => this.rewind(),
      n: () => this.begin(this.seed + 1), t: () => this.twice(), m: () => this.drive(this.before),
      g: () => this.real(), l: () => this.release(),
    }[event.key.toLowerCase()];
    if (!does || (event.target.tagName === "BUTTON" && event.key === " ")) return;
    event.preventDefault();
    if (down) does();
  }

  /** Read the pointer: left or right of the middle, and above it gas, below it the brake. */
  #point(event) {
    const box = $("picture").getBoundingClientRect();
    const x = 2 * (event.clientX - box.left) / box.width - 1, y = 2 * (event.clientY - box.top) / box.height - 1;
    const { low, deadband } = this.config.action;
    const all = [deadband ? Math.sign(x) : x, Math.max(0, -y), Math.max(0, y)];
    this.pointer = low.map((_, j) => all[j] ?? 0);
    this.drive("you");
  }
}

try {
  window.page = new Page();
  addEventListener("error", (event) => fail(event));
} catch (error) {
  fail(error);
}
