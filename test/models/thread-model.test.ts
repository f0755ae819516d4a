import { describe, expect, test } from "vitest"
import { inLane } from "../lane.ts"
import { ModelError } from "./explore.ts"
import { exploreModel, type ModelLaw } from "./explore-model.ts"
import type { RealFault } from "./gated-world.ts"
import { FREE, HELD, MODELS, TAKEN_BACK } from "./models.ts"
import { replayPath } from "./replay-model.ts"
import { type ModelFault, type ModelOptions, type ThreadInput, ThreadModel } from "./thread-model.ts"

const MINUTES = 1_800_000

describe("processes that are killed, and that take over from others", () => {
  test.each(MODELS.filter(({ every }) => inLane({ fast: 0, ...every }) > 0))(
    "$name: every law holds in every state of the model, and real threads do what it does",
    async ({ options, every, states }) => {
      const model = new ThreadModel(options)
      const explored = exploreModel(model)
      expect(explored.states).toBe(states)
      const some = explored.ways.filter((_, index) => index % inLane({ fast: 1, ...every }) === 0)
      for (const path of [
        ...inLane({ fast: explored.steps.filter((_, index) => index % 4 === 0), full: explored.steps, deep: explored.steps }),
        ...some,
      ])
        await replayPath(model, path)
    },
    MINUTES,
  )
})

const TWO_OF_TWO: ModelOptions = { inputs: 2, isHeld: false, processes: 2, retractable: [1] }

type BrokenModel = readonly [fault: ModelFault, options: ModelOptions, law: ModelLaw]

/** Found where all states are known: no way leads from some of them to the end. */
const FORGOTTEN: readonly BrokenModel[] = [["assigned_forgotten", { ...TWO_OF_TWO, retractable: [] }, "liveness"]]

/** What is wrong in a model, in which one, and the law that finds it. */
const BROKEN_MODELS: readonly BrokenModel[] = [
  ["no_fencing", FREE, "owner"],
  ["begun_before_stored", FREE, "once"],
  ["begun_again", FREE, "once"],
  ["not_held", HELD, "consent"],
  ["answer_ignored", FREE, "answers"],
  ["last_dropped", FREE, "answers"],
  ["keys_ignored", FREE, "inputs"],
  ["acknowledged_before_stored", FREE, "inputs"],
  ["not_assigned", TWO_OF_TWO, "inputs"],
  ["taken_back_late", TAKEN_BACK, "inputs"],
  ...inLane({ fast: [], full: FORGOTTEN, deep: FORGOTTEN }),
  ["decided_unread", HELD, "decisions"],
  ["answered_before_stored", HELD, "decisions"],
  ["never_free", FREE, "liveness"],
]

describe("a fault in the model breaks a law, and gives the shortest way there", () => {
  test.each(BROKEN_MODELS)(
    "%s",
    (fault, options, law) => {
      const error = violationOf({ ...options, fault })
      expect(error.law).toBe(law)
      expect(error.message).toContain("The shortest way there:")
      expect(error.path.length).toBeGreaterThan(1)
    },
    MINUTES,
  )
})

function violationOf(options: ModelOptions): ModelError<string, unknown> {
  try {
    exploreModel(new ThreadModel(options))
  } catch (error) {
    if (error instanceof ModelError) return error
    throw error
  }
  return expect.unreachable("Every law holds.")
}

const open = (process: 0 | 1): readonly ThreadInput[] => [
  { type: "open", process },
  { type: "work", process },
]
const say = (process: 0 | 1, input = 0): readonly ThreadInput[] => [
  { type: "say", process, input },
  { type: "write_log", process },
]
/** To the call: the turn begins, is opened, and the model answers. */
const call = (process: 0 | 1): readonly ThreadInput[] => [
  { type: "write_log", process },
  ...Array.from({ length: 3 }, () => ({ type: "work", process }) as const),
]
const work = (process: 0 | 1): ThreadInput => ({ type: "work", process })

/** What is wrong with a store or a process, and a way on which the real threads then differ from the model. */
const BROKEN_WORLDS: readonly (readonly [fault: RealFault, options: ModelOptions, path: readonly ThreadInput[]])[] = [
  ["no_fencing", FREE, [...open(0), ...say(0), ...open(1), { type: "write_log", process: 0 }]],
  ["starts_not_stored", FREE, [...open(0), ...say(0), ...call(0), work(0)]],
  ["results_lost", FREE, [...open(0), ...say(0), ...call(0), work(0), work(0), work(0)]],
  [
    "assignments_lost",
    { ...TAKEN_BACK, inputs: 2 },
    [...open(0), ...say(0), ...call(0), ...say(0, 1), work(0), work(0), work(0), { type: "write_log", process: 0 }],
  ],
  [
    "keys_lost",
    FREE,
    [
      ...open(0),
      ...say(0).slice(0, 1),
      { type: "write_log_and_crash", process: 0 },
      ...open(0),
      { type: "write_log", process: 0 },
      ...say(0).slice(0, 1),
    ],
  ],
]

describe("a fault in a store or a process is found by the replay", () => {
  test.each(BROKEN_WORLDS)(
    "%s",
    async (fault, options, path) => {
      const model = new ThreadModel(options)
      await replayPath(model, path)
      await expect(replayPath(model, path, fault)).rejects.toThrow("The processes differ from the model after:")
    },
    MINUTES,
  )
})
