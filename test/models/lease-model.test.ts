import { describe, expect, test } from "vitest"
import { inLane } from "../lane.ts"
import { explore, ModelError } from "./explore.ts"
import { type LeaseFault, type LeaseInput, type LeaseLaw, LeaseModel, type LeaseModelOptions } from "./lease-model.ts"
import { type LeaseWorldFault, replayLeases } from "./lease-world.ts"
import { LEASE_MODELS } from "./models.ts"

const MINUTES = 1_800_000

describe("the tokens of subagents, in processes that are killed and that take the turn over", () => {
  test.each(LEASE_MODELS.filter(({ every }) => inLane({ fast: 0, ...every }) > 0))(
    "$name: every law holds in every state of the model, and real subagents do what it does",
    async ({ options, every, states }) => {
      const model = new LeaseModel(options)
      const explored = explore(model)
      expect(explored.states).toBe(states)
      const some = explored.ways.filter((_, index) => index % inLane({ fast: 1, ...every }) === 0)
      for (const path of [...explored.steps, ...some]) await replayLeases(model, path)
    },
    MINUTES,
  )
})

type BrokenModel = readonly [fault: LeaseFault, processes: LeaseModelOptions["processes"], law: LeaseLaw]

/** What is wrong in a model, with how many processes it shows, and the law that finds it. */
const BROKEN_MODELS: readonly BrokenModel[] = [
  ["begun_together", 1, "granted"],
  ["not_reserved", 1, "granted"],
  ["forgotten", 1, "granted"],
  ["begun_anew", 1, "answers"],
  ["granted_again", 1, "kept"],
  ["grant_waits", 1, "liveness"],
  ["not_recorded", 2, "granted"],
  ["no_fencing", 2, "granted"],
  ["fenced_is_refused", 2, "spent"],
]

describe("a fault in the model breaks a law", () => {
  test.each(BROKEN_MODELS)(
    "%s",
    (fault, processes, law) => {
      let error: unknown
      try {
        explore(new LeaseModel({ processes, fault }))
      } catch (thrown) {
        error = thrown
      }
      expect(error).toBeInstanceOf(ModelError)
      expect(error).toMatchObject({ law })
    },
    MINUTES,
  )
})

const open = (process: 0 | 1): readonly LeaseInput[] => [
  { type: "open", process },
  { type: "step", process },
]
const steps = (process: 0 | 1, call: 0 | 1, times: number): readonly LeaseInput[] =>
  Array.from({ length: times }, () => ({ type: "step", process, call }) as const)
/** Opens the journal of a subagent and looks at the other one; its lease is recorded in the journal of the turn; it begins. */
const begins = (process: 0 | 1, call: 0 | 1): readonly LeaseInput[] => [
  ...steps(process, call, 2),
  { type: "step", process },
  ...steps(process, call, 1),
]

/** What is wrong with a store, and a way on which the real subagents then differ from the model. */
const BROKEN_WORLDS: readonly (readonly [fault: LeaseWorldFault, processes: 1 | 2, path: readonly LeaseInput[]])[] = [
  // An owner that looks before the turn is taken from it may not begin a subagent afterwards.
  ["no_fencing", 2, [...open(0), ...steps(0, 0, 2), ...open(1), { type: "step", process: 0 }]],
  ["grants_lost", 1, [...open(0), ...begins(0, 0).slice(0, 3)]],
  ["headers_lost", 1, [...open(0), ...begins(0, 0)]],
]

describe("a fault in a store is found by the replay", () => {
  test.each(BROKEN_WORLDS)(
    "%s",
    async (fault, processes, path) => {
      const model = new LeaseModel({ processes })
      await replayLeases(model, path)
      await expect(replayLeases(model, path, fault)).rejects.toThrow("The processes differ from the model after:")
    },
    MINUTES,
  )
})
