import { isDeepStrictEqual } from "node:util"
import type { Model } from "./explore.ts"
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

/** More than what is left alone needs to end. */
const MOST_STEPS = 100

/** How the steps of a model are taken with real processes. */
export interface Replayed<State, Input> {
  readonly model: Pick<Model<State, Input, string>, "start" | "inputs" | "next" | "isEnded" | "describe">
  /** Does a step. `isTorn`: if it kills a process, a part of what that writes is stored. */
  perform(input: Input, before: State, isTorn: boolean): void
  /** Waits until the real processes show the state. `steps`: what was done until now. @throws {ReplayError} */
  settle(state: State, steps: readonly string[]): Promise<void>
  /** Which of the possible steps leads on towards the end. */
  towardsEnd(inputs: readonly Input[]): Input | undefined
}

/** Takes the steps of a path, and then those that lead to the end. Returns how many steps were taken. @throws {ReplayError} */
export async function replaySteps<State, Input>(
  { model, perform, settle, towardsEnd }: Replayed<State, Input>,
  path: readonly Input[],
): Promise<number> {
  let state = model.start()
  const steps: string[] = []
  const take = async (input: Input): Promise<void> => {
    if (!model.inputs(state).some((possible) => isDeepStrictEqual(possible, input)))
      throw new Error(`After ${steps.length} steps, the model does not allow: ${model.describe(input)}`)
    steps.push(model.describe(input))
    perform(input, state, steps.length % 2 === 0)
    state = model.next(state, input)
    await settle(state, steps)
  }
  for (const input of path) await take(input)
  while (!model.isEnded(state)) {
    if (steps.length > path.length + MOST_STEPS) throw new Error(`After ${steps.length} steps, the turn has not ended: ${JSON.stringify(state)}`)
    const next = towardsEnd(model.inputs(state))
    if (next === undefined) throw new Error(`Nothing leads on from ${JSON.stringify(state)}.`)
    await take(next)
  }
  return steps.length
}
