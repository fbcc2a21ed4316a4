"use strict";
// Only in the page that `dreamgym web` serves: a page in a file asks nobody for anything.

/** The real game that `dreamgym web` plays for this page, and what V and M make of it. */
class Reality {
  constructor(config) {
    this.config = config;
    this.visitor = Array.from(crypto.getRandomValues(new Uint32Array(4)), (x) => x.toString(36)).join("");
    this.address = `/?token=${new URLSearchParams(location.search).get("token")}`;
    this.frame = new ImageData(SIDE, SIDE);
    addEventListener("pagehide", () => this.close());
  }

  /** Begin a game with a seed, or play on by an action, and read the moment after it. */
  async ask(what) {
    const body = JSON.stringify({ visitor: this.visitor, ...what });
    const answer = await fetch(this.address, { method: "POST", body });
    if (!answer.ok) throw new Error(await answer.text());
    const { z, hidden, counts } = this.config, came = await answer.arrayBuffer();
    const many = 3 + counts.length + z + 2 * hidden, numbers = new Float32Array(came, 0, many);
    const from = (at, size) => numbers.slice(at, at + size), first = 3 + counts.length;
    [this.steps, this.score] = numbers;
    this.over = numbers[2] > 0;
    this.counts = [...from(3, counts.length)];
    [this.z, this.h, this.c] = [from(first, z), from(first + z, hidden), from(first + z + hidden, hidden)];
    const pixels = new Uint8Array(came, 4 * many);
    for (let i = 0; i < SIDE * SIDE; i++) {
      for (let channel = 0; channel < 3; channel++) this.frame.data[4 * i + channel] = pixels[3 * i + channel];
      this.frame.data[4 * i + 3] = 255;
    }
  }

  close() {
    navigator.sendBeacon(this.address, JSON.stringify({ visitor: this.visitor, close: true }));
  }
}
