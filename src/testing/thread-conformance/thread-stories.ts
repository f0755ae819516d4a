import { ANSWER_TOKENS, objectiveOf, TTL_MS } from "./scripted-thread.ts"
import type { ThreadPromises } from "./tested-thread.ts"
import type { Act } from "./thread-acts.ts"
import type { ThreadLaw } from "./thread-laws.ts"

/** What happens to a thread before and while it runs once. */
export interface Stage {
  /** The process ends in order, and another one continues. */
  readonly restart?: true
  /** What is done before the run. */
  readonly acts?: readonly Act[]
  /** What is done while this work runs: `model 2` is the second request to the model, `pay of a` a tool call. */
  readonly during?: Readonly<Record<string, readonly Act[]>>
  /** False: the thread is not run. */
  readonly run?: false
  /** The calls that wait for decisions after the run. Default: none. */
  readonly held?: readonly string[]
  /** The keys of the inputs that wait after the run, in their order. Default: not checked. */
  readonly queue?: readonly string[]
}

/** The life of a thread, as data. */
export interface ThreadStory {
  readonly name: string
  readonly laws: readonly ThreadLaw[]
  /** The promises without which the story is left out. */
  readonly needs?: readonly (keyof ThreadPromises)[]
  readonly goals?: true
  readonly held?: true
  readonly stages: readonly Stage[]
}

const ALWAYS = ["rests", "delivered", "order", "history", "status", "keys"] as const

const say = (key: string, verb: "talk" | "work" | "sign" = "talk", when: "now" | "turn_end" | "next_turn" = "now"): Act => ({
  do: "say",
  key,
  verb,
  when,
})
const approve: Act = { do: "decide", callId: "sign-a", decision: "approve", counts: true, expects: ["accepted"] }
const repeated: Act = { ...approve, counts: false, expects: ["stale"] }
const late: Act = { ...approve, counts: false, expects: ["stale", "refused"] }
/** The call that a person saw had other arguments. */
const changed: Act = { ...approve, counts: false, changed: true, expects: ["refused"] }
const reject: Act = { ...approve, decision: "reject" }

const set = (key: string, name: string, steps: number): Act => {
  return { do: "command", key, command: { type: "set", objective: objectiveOf(name, steps), tokenBudget: 1_000 } }
}
const extend: Act = { do: "command", key: "k4", command: { type: "resume", addTokens: 500 } }

/** All stories. */
export const THREAD_STORIES: readonly ThreadStory[] = [
  {
    name: "inputs while a turn runs",
    laws: [...ALWAYS, "when", "once"],
    stages: [
      {
        acts: [say("a", "work")],
        during: {
          "model 1": [say("b", "talk", "turn_end"), say("c", "talk", "next_turn"), say("d")],
          "set of a": [say("e", "talk", "turn_end"), say("f", "work")],
          "model 2": [say("g", "talk", "next_turn")],
        },
      },
      { restart: true, acts: [say("h", "talk", "next_turn"), say("i", "work"), say("j"), say("k", "talk", "turn_end")] },
    ],
  },
  {
    name: "inputs that are sent again",
    laws: [...ALWAYS, "again"],
    stages: [
      { acts: [say("a", "work"), say("a", "work"), { do: "say_other", key: "a" }], during: { "model 1": [say("b"), say("b"), say("a", "work")] } },
      { restart: true, acts: [say("a", "work"), { do: "say_other", key: "b" }, say("c"), say("b")] },
    ],
  },
  {
    name: "inputs that are taken back",
    laws: [...ALWAYS, "when"],
    needs: ["retract"],
    stages: [
      {
        acts: [say("a", "work"), say("b"), { do: "retract", key: "b" }],
        during: {
          "model 1": [say("c", "talk", "next_turn"), say("d"), say("e", "talk", "next_turn"), { do: "retract", key: "c" }],
          "model 2": [
            { do: "retract", key: "a" },
            { do: "retract", key: "d" },
          ],
        },
      },
      { restart: true, acts: [{ do: "retract", key: "a" }, { do: "retract", key: "c" }, { do: "retract", key: "e" }, say("f")] },
    ],
  },
  {
    name: "an interrupt while the model answers",
    laws: [...ALWAYS, "stops"],
    needs: ["interrupt"],
    stages: [
      {
        acts: [say("a", "work")],
        during: { "model 1": [say("b"), say("c", "talk", "turn_end"), say("d", "talk", "next_turn"), { do: "interrupt" }] },
      },
      { restart: true, acts: [say("e", "work")] },
    ],
  },
  {
    name: "an interrupt while a tool runs",
    laws: [...ALWAYS, "stops", "once"],
    needs: ["interrupt"],
    stages: [
      { acts: [say("a", "work")], during: { "pay of a": [say("b"), { do: "interrupt" }] } },
      { restart: true, acts: [say("c", "work")] },
    ],
  },
  {
    name: "a turn that is redirected",
    laws: [...ALWAYS, "when", "stops", "once"],
    needs: ["steer", "redirect"],
    stages: [
      {
        acts: [say("a", "work")],
        during: {
          "model 1": [say("b"), { do: "redirect", key: "c", verb: "work" }],
          "pay of c": [{ do: "redirect", key: "d", verb: "talk" }],
        },
      },
      { restart: true, acts: [{ do: "redirect", key: "e", verb: "talk" }] },
    ],
  },
  {
    name: "a goal",
    laws: [...ALWAYS, "when", "commands", "continues"],
    needs: ["goals"],
    goals: true,
    stages: [
      { acts: [set("k1", "dance", 3)], during: { "step 1 of dance": [say("a")] } },
      {
        restart: true,
        acts: [{ do: "see_goal", goal: { status: "complete", objective: objectiveOf("dance", 3) } }, say("b", "work")],
      },
    ],
  },
  {
    name: "commands for a goal",
    laws: [...ALWAYS, "commands", "continues"],
    needs: ["goals"],
    goals: true,
    stages: [
      {
        acts: [{ do: "command", key: "k1", command: { type: "resume" }, refused: "no_goal" }, set("k2", "dance", 2), set("k2", "dance", 2)],
        during: { "step 1 of dance": [{ do: "command", key: "k3", command: { type: "pause" } }] },
      },
      { restart: true, acts: [{ do: "see_goal", goal: { status: "paused" } }, say("a")] },
      {
        restart: true,
        acts: [
          { do: "see_goal", goal: { status: "paused" } },
          extend,
          // Sent again, it must not add tokens again.
          { ...extend },
        ],
      },
      {
        restart: true,
        acts: [
          { do: "see_goal", goal: { status: "complete", objective: objectiveOf("dance", 2), tokenBudget: 1_500 } },
          { do: "command", key: "k5", command: { type: "start", objective: objectiveOf("song", 1) } },
        ],
      },
      {
        restart: true,
        acts: [
          { do: "see_goal", goal: { status: "complete", objective: objectiveOf("song", 1), tokensUsed: 3 * ANSWER_TOKENS } },
          { do: "command", key: "k6", command: { type: "clear" } },
        ],
      },
      { restart: true, acts: [{ do: "see_goal", goal: null }], run: false },
    ],
  },
  {
    name: "a goal that waits",
    laws: [...ALWAYS, "commands", "continues", "early"],
    needs: ["goals"],
    goals: true,
    stages: [
      {
        acts: [set("k1", "dance", 2)],
        during: { "step 1 of dance": [{ do: "command", key: "k2", command: (now) => ({ type: "wait", until: now + 3_600_000 }) }] },
      },
      // Two answers for each step, and the one that completes the goal. What the model says after that is not charged.
      { restart: true, acts: [{ do: "see_goal", goal: { status: "complete", tokensUsed: 5 * ANSWER_TOKENS } }], run: false },
    ],
  },
  {
    name: "a held call that is approved while no process runs the thread",
    laws: [...ALWAYS, "consent", "decided", "once"],
    needs: ["held"],
    held: true,
    stages: [
      { acts: [say("a", "sign")], held: ["sign-a"] },
      { restart: true, acts: [approve], run: false },
      { restart: true },
      { restart: true, acts: [late, say("b")] },
    ],
  },
  {
    name: "a held call with several decisions",
    laws: [...ALWAYS, "consent", "decided", "once"],
    needs: ["held"],
    held: true,
    stages: [
      { acts: [say("a", "sign")], held: ["sign-a"] },
      { restart: true, acts: [changed, approve, repeated, { ...late, decision: "reject", expects: ["refused"] }, say("b", "talk", "next_turn")] },
      { restart: true, acts: [late, { ...late, decision: "reject", expects: ["refused"] }, say("c", "work")] },
    ],
  },
  {
    name: "a held call that is rejected",
    laws: [...ALWAYS, "consent", "decided"],
    needs: ["held"],
    held: true,
    stages: [
      { acts: [say("a", "sign")], held: ["sign-a"] },
      { restart: true, acts: [reject] },
      { restart: true, acts: [{ ...late, expects: ["refused"] }, say("b")] },
    ],
  },
  {
    name: "a held call whose approval comes too late",
    laws: [...ALWAYS, "consent", "decided"],
    needs: ["held"],
    held: true,
    stages: [
      { acts: [say("a", "sign")], held: ["sign-a"] },
      // It counts, but as expired.
      {
        restart: true,
        acts: [
          { do: "advance", ms: TTL_MS + 1 },
          { ...approve, counts: false, expects: ["accepted", "refused"] },
        ],
      },
      { restart: true, acts: [say("b")] },
    ],
  },
  {
    name: "a held call of a turn that is interrupted",
    laws: [...ALWAYS, "consent", "decided", "stops"],
    needs: ["held", "interrupt"],
    held: true,
    stages: [
      { acts: [say("a", "sign")], held: ["sign-a"] },
      { restart: true, acts: [{ do: "interrupt", again: true }] },
      { restart: true, acts: [{ ...late, expects: ["refused"] }, say("b")] },
    ],
  },
  {
    name: "an input while a call is held",
    laws: [...ALWAYS, "consent", "decided", "when"],
    needs: ["held"],
    held: true,
    stages: [
      { acts: [say("a", "sign")], held: ["sign-a"] },
      { restart: true, acts: [say("b"), say("c", "talk", "next_turn")], held: ["sign-a"], queue: ["b", "c"] },
      { restart: true, acts: [approve] },
    ],
  },
]
