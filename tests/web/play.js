// Play dreams of an exported page without a browser. The arguments are the page and `wasm` or `js`; the
// standard input is a JSON list of cases, and the standard output is what came of each.
const fs = require("fs");
const path = require("path");
const { Agent, Controller, Dream, Model, uniforms, keyOf } = require(
  path.join(__dirname, "../../dreamgym/web/dream.js"));

const [page, how] = process.argv.slice(2);
const text = fs.readFileSync(page, "utf-8");
const part = (id) => text.match(new RegExp(`id="${id}">([^<]*)</script>`))[1];
const config = JSON.parse(part("data"));
const weights = Uint8Array.from(Buffer.from(part("weights"), "base64"));
const kernel = how === "wasm" ? Uint8Array.from(Buffer.from(part("kernel"), "base64")) : null;
const model = new Model(config, new Uint16Array(weights.buffer), kernel);
if (model.engine !== (how === "wasm" ? "WebAssembly" : "JavaScript")) throw new Error(model.why);
const kinds = { controller: Controller, agent: Agent };

/**
 * Play one case: a seed, a temperature, and actions or the name of a policy; states may be forced. Of a
 * `brief` one, only the length and the return are told.
 */
function play({ seed, episode = 0, tau, actions, policy, steps, forced, brief }) {
  const dream = new Dream(model, seed, tau).reset(seed, episode);
  const player = policy && new kinds[policy](config, config.policies[policy], model);
  const came = { z: [[...dream.z]], h: [], c: [], reward: [], over: [], odds: [], counts: [[...dream.counts]], action: [] };
  const many = actions ? actions.length : steps;
  for (let step = 0; step < many && !dream.over; step++) {
    if (forced) {
      for (const name of ["z", "h", "c"]) dream[name] = Float32Array.from(forced[name][step]);
      dream.counts = forced.counts[step];
    }
    const action = player ? player.act(dream.observe(player.observation)) : actions[step];
    dream.step(action);
    if (brief) {
      came.length = step + 1;
      came.return = (came.return ?? 0) + dream.reward;
      continue;
    }
    came.action.push([...action]);
    for (const name of ["z", "h", "c", "odds", "counts"]) came[name].push([...dream[name]]);
    came.reward.push(dream.reward);
    came.over.push(dream.over);
  }
  if (brief) return { length: came.length, return: came.return };
  came.picture = [...model.decode(dream.z, new Uint8ClampedArray(64 * 64 * 4))];
  came.last = [...dream.z];
  came.noise = uniforms(keyOf(seed, episode), 3, 5, 4).map((each) => [...each]);
  return came;
}

const cases = JSON.parse(fs.readFileSync(0, "utf-8"));
process.stdout.write(JSON.stringify(cases.map(play)));
