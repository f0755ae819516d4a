import { isDeepStrictEqual } from "node:util"
import type { GatedProcess } from "./gated-process.ts"

/** The real processes did something else than the model. */
export class ReplayError extends Error {
  constructor(steps: readonly string[], model: unknown, real: unknown) {
    super(["The processes differ from the model after:", ...steps, `model: ${JSON.stringify(model)}`, `real:  ${JSON.stringify(real)}`].join("\n"))
    this.name = "ReplayError"
  }
}

/** How often what is due may run until the real processes have done what the model did. Nothing of it waits for a disk or a clock. */
const MOST_ROUNDS = 400

/** For so many rounds nothing more may change: what shows nowhere, such as removing a torn line, is done as well. */
const STABLE_ROUNDS = 3

/** Waits until real processes show what the model shows. `steps`: what was done until now. @throws {ReplayError} */
export async function settle(
  processes: readonly (GatedProcess | undefined)[],
  model: object,
  real: () => object,
  steps: readonly string[],
): Promise<void> {
  let same = 0
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const fault = processes.find((process) => process?.fault !== undefined)?.fault
    if (fault !== undefined) throw fault
    same = isDeepStrictEqual(real(), model) ? same + 1 : 0
    if (same > STABLE_ROUNDS) return
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  throw new ReplayError(steps, model, real())
}
