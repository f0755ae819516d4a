/**
 * Runs one contender of the time measurement in its own process: node contenders.js NAME ROUNDS_FACTOR. In a shared process, the
 * engine would compile the code for all contenders together. Prints the fastest and the median round for each length of turn, in
 * microseconds per iteration, as one line of JSON.
 */
import { chatDriver } from "../src/drivers/chat.ts"
import type { TurnConfig } from "../src/machine/config.ts"
import { TurnMachine as BareTurnMachine } from "../src/machine/turn-machine.ts"
import { chatProjector } from "../src/projectors/chat.ts"
import type { Effect } from "../src/schemas/effect.ts"
import type { Response } from "../src/schemas/response.ts"
import { TurnMachine } from "../src/validated-turn-machine.ts"
import { begin, reduce } from "./floor.ts"
import { median } from "./rounds.ts"
import { CONFIG, LENGTHS, responses, START } from "./script.ts"

const config: TurnConfig = { ...CONFIG, driver: chatDriver(), projector: chatProjector }

const CONTENDERS: { readonly [name: string]: (script: readonly Response[]) => unknown } = {
  floor: runFloor,
  json: (script) => script.map((response) => JSON.parse(JSON.stringify(response)) as Response),
  bare: (script) => runMachine(new BareTurnMachine(config, START), script),
  validated: (script) => runMachine(new TurnMachine(config, START), script),
}

/** Handles every effect, like a host that does not read the transcript of `progress` and `llm_call`. */
function runFloor(script: readonly Response[]): unknown {
  let step = begin()
  for (const effect of step.effects) take(effect)
  for (const response of script) {
    step = reduce(step.state, response)
    for (const effect of step.effects) take(effect)
  }
  return step
}

function runMachine(machine: BareTurnMachine, script: readonly Response[]): unknown {
  for (let effect = machine.poll(); effect; effect = machine.poll()) take(effect)
  for (const response of script) {
    machine.handle(response)
    for (let effect = machine.poll(); effect; effect = machine.poll()) take(effect)
  }
  if (!machine.done) throw new Error("The script did not end the turn")
  return machine.turn
}

const sample: Effect[] = []
let taken = 0
function take(effect: Effect): void {
  sample[taken & 31] = effect
  taken += 1
}

const [name = "", factor = "1"] = process.argv.slice(2)
const contender = CONTENDERS[name]
if (contender === undefined) throw new Error(`No contender ${name}`)
const rows = LENGTHS.map((iterations) => {
  const script = responses(iterations)
  const rounds = Math.max(5, Math.ceil((30_000 * Number(factor)) / iterations))
  const times: number[] = []
  for (let round = -Math.ceil(rounds / 4); round < rounds; round += 1) {
    const start = performance.now()
    contender(script)
    if (round >= 0) times.push(((performance.now() - start) * 1000) / iterations)
  }
  return { bestUs: Math.min(...times), medianUs: median(times) }
})
console.log(JSON.stringify(rows))
