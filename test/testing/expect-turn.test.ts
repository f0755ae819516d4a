import { describe, expect, test } from "vitest"
import { chatDriver } from "../../src/drivers/chat.ts"
import { wrapDriver } from "../../src/drivers/wrap-driver.ts"
import type { Json } from "../../src/json.ts"
import { completeConfig, type TurnConfig } from "../../src/machine/config.ts"
import type { DriverContext } from "../../src/machine/driver.ts"
import { isAnswerable } from "../../src/machine/transitions.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { wrapProjector } from "../../src/projectors/wrap-projector.ts"
import type { DriverAction } from "../../src/schemas/action.ts"
import type { TurnCheckpoint } from "../../src/schemas/checkpoint.ts"
import type { TurnStart } from "../../src/schemas/config.ts"
import type { AnswerableEffect, Effect } from "../../src/schemas/effect.ts"
import type { LlmMessage, OutputPart } from "../../src/schemas/llm.ts"
import type { Message } from "../../src/schemas/message.ts"
import type { Response, ToolResults } from "../../src/schemas/response.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import { type Law, LawError } from "../../src/testing/laws.ts"
import { scriptedDriver } from "../../src/testing/scripted-driver.ts"
import type { TestedMachineClass, TurnInput } from "../../src/testing/turn-input.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { CHECKPOINT, configOf, FINISH, message, REQUEST, START, START_LLM, START_TOOLS, say } from "./turns.ts"

const EMIT: DriverAction = { type: "emit", event: { type: "text_delta", content: "shown" } }
const ACTIONS = [[say("one"), EMIT, START_LLM], [say("two"), EMIT, START_TOOLS], [say("three"), EMIT, CHECKPOINT], [FINISH]]
const CONFIG = configOf(ACTIONS)
const POLL: TurnInput = { type: "poll" }

function respond(response: Response): TurnInput {
  return { type: "respond", response }
}

function results(...callIds: readonly string[]): TurnInput {
  return resultsOf(2, ...callIds)
}

function resultsOf(id: number, ...callIds: readonly string[]): TurnInput {
  const completed: ToolResults["results"] = callIds.map((callId) => ({
    callId,
    toolName: "tool",
    args: {},
    output: { status: "success", value: callId },
    durationMs: 1,
  }))
  return respond({ type: "tool_results", id, results: completed })
}

const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 5, reasoningTokens: 0 }
const INPUTS: readonly TurnInput[] = [
  POLL,
  respond({ type: "llm_complete", id: 1, result: { ok: true, response: { text: "", parts: [], usage: USAGE, terminalReason: "stop" } } }),
  POLL,
  { type: "apply", actions: [EMIT] },
  results("c", "a"),
  POLL,
  results("b"),
  POLL,
  respond({ type: "checkpoint_delivery", id: 3, delivery: { messages: [{ role: "user", content: "delivered" }] } }),
  POLL,
]

// Polled at once, this turn asks for its execution surface first, and each later effect has another id.
test("a turn that is redirected before its first poll follows the laws", () => {
  const second: DriverAction = { type: "start_tools", calls: ["b", "d"].map((callId) => ({ callId, toolName: "tool", args: {} })) }
  const driver = scriptedDriver([{ actions: [START_TOOLS] }, { actions: [second] }, { actions: [FINISH] }], { callbacks: ["onDelivery"] })
  const config = configOf([], { driver, syncExecutionSurface: true })
  const redirect: TurnInput = { type: "redirect", messages: [message("other")] }
  const { outcome } = expectTurn(config, START, [redirect, POLL, resultsOf(1, "a", "b", "c"), POLL, resultsOf(2, "d", "b"), POLL])
  expect(outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "the end" } })
})

describe("a turn that follows the laws", () => {
  const turn = expectTurn(CONFIG, START, INPUTS)

  test("is summarized", () => {
    expect(turn.effects.map((effect) => (effect.type === "emit" ? effect.event.type : effect.type))).toEqual([
      ...["text_delta", "llm_request", "progress", "llm_call"],
      ...["token_usage", "text_delta", "progress", "tool_calls"],
      ...["text_delta", "tool_call", "tool_call"],
      ...["tool_call", "text_delta", "progress", "checkpoint"],
      ...["progress", "turn_outcome", "done", "done"],
    ])
    expect(turn.verdicts).toEqual(["accepted", "accepted", "accepted", "accepted", "accepted"])
    expect(turn).toMatchObject({ state: "finished", done: true, iteration: 0, usage: USAGE, turnCauses: [] })
    expect(turn.outcome).toEqual({ type: "finished", finish: { type: "assistant_message", text: "the end" } })
    expect(turn.messages.map(({ id }) => id)).toEqual(["asked", "one", "two", "three", "m_0_checkpoint_300"])
    expect(turn.history.length).toBe(3)
    expect(turn.checkpoint.state.type).toBe("finished")
  })

  test("is cut before every step and after the last", () => {
    // 19 effects, 5 polls that returned nothing, 5 other inputs, and the end.
    expect(turn.cuts).toBe(19 + 5 + 5 + 1)
    expect(expectTurn(CONFIG, START, INPUTS, { mostCuts: 7 }).cuts).toBe(7)
  })

  test("may be cancelled, may receive invalid inputs, and need not end", () => {
    expectTurn(CONFIG, START, [])
    expectTurn(CONFIG, START, [POLL])
    expect(expectTurn(CONFIG, START, [POLL, { type: "cancel", reason: "enough" }, POLL]).outcome).toEqual({
      type: "stopped",
      stop: { type: "cancelled" },
    })
    expectTurn(CONFIG, START, [
      POLL,
      { ...respond({ type: "exec_result", id: 1, result: { ok: false, error: "" } }), expect: "unexpected_response" } as TurnInput,
    ])
  })

  // If the result from outside is the last, the turn has waited for it; if it comes with the other, or before it, it has not.
  test("may wait for work outside for a time that depends on the order of results", () => {
    const batch: DriverAction = { type: "start_tools", calls: ["a", "b"].map((callId) => ({ callId, toolName: "tool", args: {} })) }
    const at = (time: number, input: TurnInput): TurnInput => ("response" in input ? respond({ ...input.response, at: time } as Response) : input)
    const inputs = [
      POLL,
      at(10, respond({ type: "tool_pending", id: 1, callId: "b", token: "job" })),
      at(20, resultsOf(1, "a")),
      at(100, resultsOf(1, "b")),
      POLL,
    ]
    expect(expectTurn(configOf([[batch], [FINISH]]), START, inputs).checkpoint).toMatchObject({ at: 100, heldMs: 80 })
    // Each of the other orders of law 8, as a turn of its own: nothing that runs here is ever waited for last.
    for (const others of [[at(100, resultsOf(1, "a", "b"))], [at(100, resultsOf(1, "b")), at(100, resultsOf(1, "a"))]])
      expect(expectTurn(configOf([[batch], [FINISH]]), START, [...inputs.slice(0, 2), ...others, POLL]).checkpoint).not.toHaveProperty("heldMs")
  })

  test("may be answered before it is polled, up to its end: an answered checkpoint still comes, and an answered batch does not", () => {
    const end: DriverAction = { type: "start_checkpoint", checkpoint: "after_work", onEmpty: FINISH as never }
    const [poll, said] = INPUTS as [TurnInput, TurnInput]
    const inputs = [poll, said, results("c", "a", "b"), respond({ type: "checkpoint_delivery", id: 3, delivery: {} }), POLL]
    const { effects } = expectTurn(configOf([[START_LLM], [START_TOOLS], [end]]), START, inputs)
    expect(effects.filter((effect) => isAnswerable(effect)).map(({ type }) => type)).toEqual(["llm_call", "checkpoint"])
  })
})

/** Machines that each break one law. */
class Broken extends TurnMachine {
  /** The effect of the correct machine, or the one that it returns instead. */
  protected change(effect: Effect): Effect | undefined {
    return effect
  }

  override poll(): Effect | undefined {
    const effect = super.poll()
    return effect === undefined ? undefined : this.change(effect)
  }
}

/** A machine that knows whether it was restored. */
class Knowing extends Broken {
  protected restored = false

  static override restore(config: TurnConfig, checkpoint: unknown): TurnMachine {
    const machine = super.restore(config, checkpoint)
    if (machine instanceof Knowing) machine.restored = true
    return machine
  }
}

/** A class that counts its machines: number 1 runs the turn, number 2 the replay. */
class Numbered extends Broken {
  static readonly made = new Map<unknown, number>()
  protected readonly number: number

  constructor(config: TurnConfig, start: TurnStart) {
    super(config, start)
    this.number = (Numbered.made.get(new.target) ?? 0) + 1
    Numbered.made.set(new.target, this.number)
  }
}

/** A machine that remembers that it refused an input. */
class Resentful extends Broken {
  protected offended = false

  override handle(response: Response): { readonly status: "accepted" | "stale" } {
    try {
      return super.handle(response)
    } catch (error) {
      this.offended = true
      throw error
    }
  }
}

/** A machine that restores another checkpoint than the given one. */
function restoring(change: (checkpoint: TurnCheckpoint) => TurnCheckpoint): TestedMachineClass {
  return class extends TurnMachine {
    static override restore(config: TurnConfig, checkpoint: unknown): TurnMachine {
      return super.restore(config, change(JSON.parse(checkpoint as string) as TurnCheckpoint))
    }
  }
}

/** A machine whose effects are changed when they are polled. */
function emitting(change: (effect: Effect) => Effect | undefined): TestedMachineClass {
  return class extends Broken {
    protected override change(effect: Effect): Effect | undefined {
      return change(effect)
    }
  }
}

const BREACHES: readonly (readonly [what: string, law: Law, message: RegExp, machine: TestedMachineClass])[] = [
  [
    "its effects depend on something other than its inputs",
    "replay",
    /input 0 \(poll\), poll 0/,
    class extends Numbered {
      protected override change(effect: Effect): Effect {
        const shown = effect.type === "emit" && effect.event.type === "text_delta"
        return shown ? { type: "emit", event: { type: "text_delta", content: String(this.number) } } : effect
      }
    },
  ],
  [
    "taking a checkpoint changes it",
    "replay",
    /poll/,
    class extends TurnMachine {
      #changed = false
      override checkpoint(): TurnCheckpoint {
        const checkpoint = super.checkpoint()
        if (!this.#changed && checkpoint.state.type === "waiting_llm") this.apply([EMIT])
        this.#changed ||= checkpoint.state.type === "waiting_llm"
        return checkpoint
      }
    },
  ],
  [
    "the result of an input depends on something other than the inputs",
    "replay",
    /input 1 .*the verdict on the input/,
    class extends Numbered {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        const { status } = super.handle(response)
        return { status: this.number === 1 ? status : "stale" }
      }
    },
  ],
  [
    "its checkpoint depends on something other than the inputs",
    "replay",
    /at the end: the checkpoint/,
    class extends Numbered {
      override checkpoint(): TurnCheckpoint {
        return { ...super.checkpoint(), systemPrompt: String(this.number) }
      }
    },
  ],
  [
    "the calls to its driver depend on something other than the inputs",
    "replay",
    /at the end: the driver's calls/,
    class extends Numbered {
      constructor(config: TurnConfig, start: TurnStart) {
        super(config, start)
        if (this.number === 2) askOnceMore(config, this)
      }
    },
  ],
  [
    "a part of the turn that no effect shows is lost in a restore",
    "cut",
    /at the end: the turn/,
    restoring((checkpoint) => ({ ...checkpoint, turnLimitScheduled: true })),
  ],
  [
    "the outstanding effect is redelivered as another one",
    "cut",
    /the outstanding effect that was returned again/,
    restoring((checkpoint) => {
      const { state } = checkpoint
      if (state.type !== "waiting_llm" || checkpoint.unpolled.length > 0) return checkpoint
      const request = { ...state.outstanding.request, model: "other" }
      return { ...checkpoint, state: { ...state, outstanding: { ...state.outstanding, request } } }
    }),
  ],
  [
    "after a restore an answer counts as stale",
    "cut",
    /cut before input 0 .*the verdict on the input/,
    class extends Knowing {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        const { status } = super.handle(response)
        return { status: this.restored ? "stale" : status }
      }
    },
  ],
  ["usage is lost in a restore", "cut", /cut before input 0/, restoring((checkpoint) => ({ ...checkpoint, usage: { ...USAGE, outputTokens: 0 } }))],
  ["effects not polled yet are lost in a restore", "cut", /cut before input/, restoring((checkpoint) => ({ ...checkpoint, unpolled: [] }))],
  [
    "the outstanding effect comes before the queued ones",
    "cut",
    /cut before input 4 .*was returned again after 0 effects, not after the 1 that were queued/,
    restoring((checkpoint) => {
      const { state, unpolled } = checkpoint
      const taken = state.type === "waiting_tools" && unpolled.every((effect) => effect.type !== "outstanding")
      return taken ? { ...checkpoint, unpolled: [{ type: "outstanding" }, ...unpolled] } : checkpoint
    }),
  ],
  [
    "nothing is redelivered after a restore",
    "cut",
    /cut before input 0 \(poll\), poll 4; input 0 \(poll\), poll 4/,
    class extends TurnMachine {
      static override restore(config: TurnConfig, checkpoint: unknown): TurnMachine {
        const machine = super.restore(config, checkpoint)
        if ((JSON.parse(checkpoint as string) as TurnCheckpoint).unpolled.length === 0 && machine.outstanding !== undefined) machine.poll()
        return machine
      }
    },
  ],
  [
    "after a restore the whole batch is redelivered, with completed calls",
    "cut",
    /cut before input 5/,
    restoring((checkpoint) => {
      const { state } = checkpoint
      return state.type === "waiting_tools" ? { ...checkpoint, state: { ...state, results: state.results.map(() => null) } } : checkpoint
    }),
  ],
  [
    "a restored turn calls its driver once more",
    "cut",
    /cut before/,
    class extends TurnMachine {
      static override restore(config: TurnConfig, checkpoint: unknown): TurnMachine {
        const machine = super.restore(config, checkpoint)
        askOnceMore(config, machine)
        return machine
      }
    },
  ],
  [
    "a repeated answer is accepted twice",
    "duplicates",
    /input 1 \(respond llm_complete to effect 1\)/,
    class extends TurnMachine {
      override handle(response: Response): { status: "accepted" | "stale" } {
        super.handle(response)
        return { status: "accepted" }
      }
    },
  ],
  [
    "a repeated answer changes the turn",
    "duplicates",
    /input 1/,
    class extends TurnMachine {
      override handle(response: Response): { status: "accepted" | "stale" } {
        const { status } = super.handle(response)
        if (status === "stale") this.apply([EMIT])
        return { status }
      }
    },
  ],
  [
    "after a restore a repeated answer is accepted twice",
    "duplicates",
    /cut before every step.*repeated/,
    class extends Knowing {
      override handle(response: Response): { status: "accepted" | "stale" } {
        const { status } = super.handle(response)
        return { status: this.restored ? "accepted" : status }
      }
    },
  ],
  [
    "after a restore a repeated answer changes the turn",
    "duplicates",
    /cut before every step.*after a stale answer/,
    class extends Knowing {
      override handle(response: Response): { status: "accepted" | "stale" } {
        const { status } = super.handle(response)
        if (status === "stale" && this.restored) this.apply([EMIT])
        return { status }
      }
    },
  ],
  [
    "a repeated answer cancels a redelivery",
    "cut",
    /cut before every step/,
    class extends Knowing {
      #cancelled = 0
      override handle(response: Response): { status: "accepted" | "stale" } {
        const { status } = super.handle(response)
        if (status === "stale" && this.restored) this.#cancelled = this.outstanding?.id ?? 0
        return { status }
      }
      protected override change(effect: Effect): Effect | undefined {
        return isAnswerable(effect) && effect.id === this.#cancelled ? this.poll() : effect
      }
    },
  ],
  [
    "a malformed response throws an error without a code",
    "refusal",
    /before input 0/,
    class extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        if (response === null) throw new TypeError("Cannot read properties of null")
        return super.handle(response)
      }
    },
  ],
  [
    "a response of another type counts as stale",
    "refusal",
    /before input 0 \(poll\), poll 1/,
    class extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        const fits = this.outstanding === undefined || response?.id !== this.outstanding.id || response.type !== "exec_result"
        return fits ? super.handle(response) : { status: "stale" }
      }
    },
  ],
  [
    "a refused response leaves a trace",
    "refusal",
    /before input 0 \(poll\), poll 1: the checkpoint after null and before it/,
    class extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        try {
          return super.handle(response)
        } catch (error) {
          if (this.outstanding !== undefined) this.apply([say("a trace")])
          throw error
        }
      }
    },
  ],
  [
    "valid results beside a result for an unknown call are stored",
    "refusal",
    /before input 2 \(poll\), poll 0/,
    class extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        try {
          return super.handle(response)
        } catch (error) {
          const [first, second] = response?.type === "tool_results" ? response.results : []
          if (first?.callId === "a" && second !== undefined && second.callId !== "a") super.handle({ ...(response as ToolResults), results: [first] })
          throw error
        }
      }
    },
  ],
  [
    "a refusal removes an effect from the queue",
    "refusal",
    /the checkpoint after refusals/,
    class extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        try {
          return super.handle(response)
        } catch (error) {
          if (this.outstanding !== undefined) this.poll()
          throw error
        }
      }
    },
  ],
  [
    "a refusal shows in a later effect",
    "refusal",
    /the effect polled after refusals/,
    class extends Resentful {
      protected override change(effect: Effect): Effect {
        return this.offended && effect.type === "emit" ? { type: "emit", event: { type: "done" } } : effect
      }
    },
  ],
  [
    "a refusal affects the result of a later answer",
    "refusal",
    /input 1 .*the verdict on the input after refusals/,
    class extends Resentful {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        const result = super.handle(response)
        return this.offended ? { status: "stale" } : result
      }
    },
  ],
  [
    "ids do not begin at 1",
    "outstanding",
    /input 0 \(poll\), poll 3/,
    emitting((effect) => (isAnswerable(effect) ? { ...effect, id: effect.id + 1 } : effect)),
  ],
  [
    "the outstanding effect is emitted twice",
    "outstanding",
    /input 0 \(poll\), poll 4/,
    class extends Broken {
      #again: Effect | undefined
      override poll(): Effect | undefined {
        const again = this.#again
        this.#again = undefined
        return again ?? super.poll()
      }
      protected override change(effect: Effect): Effect {
        if (isAnswerable(effect)) this.#again = effect
        return effect
      }
    },
  ],
  [
    "the outstanding effect has an id that does not follow",
    "outstanding",
    /effect 2 is outstanding after effect 0/,
    class extends TurnMachine {
      override get outstanding(): AnswerableEffect | undefined {
        const outstanding = super.outstanding
        return outstanding && { ...outstanding, id: outstanding.id + 1 }
      }
    },
  ],
  [
    "another effect becomes outstanding before the first is answered",
    "outstanding",
    /effect 2 became outstanding while effect 1 was not answered/,
    class extends Broken {
      #taken = false
      override get outstanding(): AnswerableEffect | undefined {
        const outstanding = super.outstanding
        return outstanding?.id === 1 && this.#taken ? { ...outstanding, id: 2 } : outstanding
      }
      protected override change(effect: Effect): Effect {
        this.#taken ||= isAnswerable(effect)
        return effect
      }
    },
  ],
  [
    "an effect other than the outstanding one is emitted",
    "outstanding",
    /input 0 \(poll\), poll 3/,
    emitting((effect) => (effect.type === "llm_call" ? { ...effect, request: { ...effect.request, model: "other" } } : effect)),
  ],
  [
    "an answered model call is cancelled",
    "outstanding",
    /input 7/,
    emitting((effect) =>
      effect.type === "emit" && effect.event.type === "tool_call" && effect.event.callId === "b" ? { type: "cancel_llm", id: 1 } : effect,
    ),
  ],
  [
    "done comes twice",
    "ending",
    /the turn's effects/,
    emitting((effect) => (effect.type === "emit" && effect.event.type === "done" ? DONE : effect)),
  ],
  [
    "the done event comes twice",
    "ending",
    /the turn's effects/,
    emitting((effect) => (effect.type === "done" ? { type: "emit", event: { type: "done" } } : effect)),
  ],
  ["done is missing", "ending", /the turn's effects/, emitting((effect) => (effect.type === "done" ? undefined : effect))],
  [
    "turn_outcome is missing",
    "ending",
    /input 9/,
    emitting((effect) => (effect.type === "emit" && effect.event.type === "turn_outcome" ? (EMIT as Effect) : effect)),
  ],
  [
    "something comes after done",
    "ending",
    /input 9 \(poll\), poll 4/,
    class extends Broken {
      #after = false
      override poll(): Effect | undefined {
        const effect = super.poll()
        if (effect !== undefined || !this.#after) return effect
        this.#after = false
        return EMIT as Effect
      }
      protected override change(effect: Effect): Effect {
        this.#after = effect.type === "done"
        return effect
      }
    },
  ],
  [
    "done has another outcome",
    "ending",
    /input 9/,
    emitting((effect) => (effect.type === "done" ? { ...effect, outcome: { type: "agent_frame_switch", frameId: "other" } } : effect)),
  ],
  [
    "turn_outcome has another outcome",
    "ending",
    /the outcome of turn_outcome/,
    emitting((effect) => (effect.type === "emit" && effect.event.type === "turn_outcome" ? OTHER_OUTCOME : effect)),
  ],
  [
    "the end is emitted and the turn continues",
    "ending",
    /emitted by a turn that is not done/,
    class extends TurnMachine {
      override get done(): boolean {
        return false
      }
    },
  ],
  [
    "a turn that is done does not have an outcome",
    "ending",
    /has an outcome when it is done/,
    class extends TurnMachine {
      override get outcome(): undefined {
        return undefined
      }
    },
  ],
  ["done leaves messages out", "ending", /input 9/, emitting((effect) => (effect.type === "done" ? { ...effect, messages: [] } : effect))],
  ["a delta is lost", "progress", /the turn's effects/, emitting((effect) => (effect.type === "progress" ? { ...effect, eventDelta: [] } : effect))],
  [
    "deltas are emitted twice",
    "progress",
    /the turn's effects/,
    emitting((effect) => (effect.type === "progress" ? { ...effect, eventDelta: [...effect.eventDelta, ...effect.eventDelta] } : effect)),
  ],
  [
    "an old turn changes",
    "values",
    /the turn before input/,
    class extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        const { storage, length } = this.turn.record.messages
        const last = storage[length - 1]
        if (last !== undefined) (storage as Message[])[length - 1] = { ...last, id: `${last.id}!` }
        return super.handle(response)
      }
    },
  ],
]

/** Calls the driver without the turn. */
function askOnceMore(config: TurnConfig, { turn }: TurnMachine): void {
  const { messages, events, turnCauses } = turn.record
  const context: DriverContext = {
    withTools: () => context,
    ...{
      config: completeConfig(config),
      tools: [],
      hostTools: [],
      messages,
      events,
      turnCauses: turnCauses.toArray(),
      iteration: 0,
      iterationOffset: 0,
      maxIterations: 0,
      turnLimitScheduled: false,
      surfaceChanged: false,
      usage: USAGE,
      at: 0,
      heldMs: 0,
    },
    newMessageId: () => "m_0_script_99",
    projectRequest: () => REQUEST,
    limitReached: () => false,
    turnLimitMessage: () => message("limit"),
  }
  config.driver.prepareIteration(context)
}

const OTHER_OUTCOME: Effect = { type: "emit", event: { type: "turn_outcome", outcome: { type: "agent_frame_switch", frameId: "other" } } }
const DONE: Effect = {
  type: "done",
  outcome: { type: "finished", finish: { type: "assistant_message", text: "the end" } },
  messages: [],
  eventDelta: [],
  recordsFrom: 0,
  iteration: 0,
  usage: USAGE,
}

/** The latest arrival last; shared by all machines, so that only the order of arrival decides. */
const arrivals: string[] = []
class InOrderOfArrival extends TurnMachine {
  constructor(config: TurnConfig, start: TurnStart) {
    const { driver } = config
    const place = ({ callId }: { readonly callId: string }): number => arrivals.lastIndexOf(callId)
    const sorting = {
      ...driver,
      onToolResults: (...[context, given]: Parameters<typeof driver.onToolResults>) =>
        driver.onToolResults(
          context,
          [...given].sort((left, right) => place(left) - place(right)),
        ),
    }
    super({ ...config, driver: sorting }, start)
  }
  override handle(response: Response): { readonly status: "accepted" | "stale" } {
    if (response?.type === "tool_results") arrivals.push(...response.results.map(({ callId }) => callId))
    return super.handle(response)
  }
}

describe("a machine that breaks a law is detected", () => {
  test.each(BREACHES)("%s", (_what, law, message, machine) => {
    // Some of the machines change what they are given.
    const error = breach(() => expectTurn(configOf(structuredClone(ACTIONS)), structuredClone(START), structuredClone(INPUTS), { machine }))
    expect(error.law).toBe(law)
    expect(error.message).toMatch(message)
  })

  test("the driver sees results in order of arrival", () => {
    const error = breach(() => expectTurn(CONFIG, START, INPUTS, { machine: InOrderOfArrival }))
    expect(error.law).toBe("tools")
    expect(error.where).toBe("results one by one, the last first")
  })

  test("an answer is accepted for an effect that is not outstanding", () => {
    const machine = class extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        super.handle(response)
        return { status: "accepted" }
      }
    }
    const error = breach(() => expectTurn(CONFIG, START, [POLL, INPUTS[1] as TurnInput, INPUTS[1] as TurnInput], { machine }))
    expect(error.law).toBe("outstanding")
    expect(error.message).toContain("accepted for effect 1 while effect 2 was outstanding")
  })

  test("the turn at the end depends on the order of results, though the driver never sees it", () => {
    const machine = class extends TurnMachine {
      override handle(response: Response): { readonly status: "accepted" | "stale" } {
        const { outstanding } = this
        const result = super.handle(response)
        const complete = response?.type === "tool_results" && this.outstanding?.id !== outstanding?.id
        if (complete && result.status === "accepted") this.apply([say(`first ${response.results[0]?.callId}`)])
        return result
      }
    }
    const error = breach(() => expectTurn(CONFIG, START, INPUTS.slice(0, 8), { machine }))
    expect(error.law).toBe("tools")
    expect(error.message).toContain("results all at once: the turn at the end")
  })

  test("effects never end", () => {
    const machine = class extends TurnMachine {
      override poll(): Effect {
        return EMIT as Effect
      }
    }
    const error = breach(() => expectTurn(CONFIG, START, INPUTS, { machine, mostPolls: 50 }))
    expect(error.law).toBe("inputs")
    expect(error.message).toContain("50 polls, and the turn still returns effects")
  })

  test("an input has another verdict than expected", () => {
    const error = breach(() => expectTurn(CONFIG, START, [POLL, { ...results("a"), expect: "stale" } as TurnInput]))
    expect(error.law).toBe("inputs")
    expect(error.message).toContain("expected stale, received unknown_effect")
  })
})

describe("law 11, prefix", () => {
  const CALLED = { type: "tool_call", callId: "c", toolName: "tool", inputJson: "{}" } as const
  const answer = (id: number, ...parts: readonly OutputPart[]): TurnInput =>
    respond({ type: "llm_complete", id, result: { ok: true, response: { text: "", parts, usage: USAGE, terminalReason: "stop" } } })
  /** Two model calls with a tool call in between. */
  const inputs: readonly TurnInput[] = [
    POLL,
    answer(1, CALLED),
    POLL,
    results("c"),
    POLL,
    respond({ type: "checkpoint_delivery", id: 3, delivery: {} }),
    POLL,
    answer(4, { type: "text", text: "Done." }),
    POLL,
  ]
  const tool = { name: "tool", description: "A tool.", inputSchema: {} }
  const config: TurnConfig = { model: "model", driver: chatDriver(), projector: chatProjector, systemPrompt: "You act.", tools: [tool] }
  /** Changes every request after the first. */
  const changing = (change: Parameters<typeof wrapProjector>[1]["request"]): TurnConfig => ({
    ...config,
    projector: wrapProjector(chatProjector, { request: (request, input) => (input.iteration === 0 ? {} : (change?.(request, input) ?? {})) }),
  })
  const withTool = changing(({ tools }) => ({ tools: [...tools, { ...tool, name: "new" }] }))

  test("holds for the chat driver, with messages and events that are delivered in mid-turn", () => {
    const delivery = { userMessages: [message("more")], messages: [{ role: "system" as const, content: "A note." }], events: [{ type: "any" }] }
    const delivered = inputs.map((input, index) => (index === 5 ? respond({ type: "checkpoint_delivery", id: 3, delivery }) : input))
    expect(expectTurn(config, START, inputs).state).toBe("waiting_checkpoint")
    expectTurn(config, START, delivered)
  })

  test("is broken by another tool list, and says where, with both values", () => {
    const error = breach(() => expectTurn(withTool, START, inputs))
    expect(error.law).toBe("prefix")
    expect(error.difference).toEqual({ path: "/tools/1", expected: undefined, received: { ...tool, name: "new" } })
    expect(error.message).toBe(
      [
        "Broken: law 11, prefix: a request begins with the one before it of the same purpose, or a record with contextReset marks the break.",
        'input 6 (poll), poll 0: the request of effect 4 does not begin with the one before it (tools), first difference at "/tools/1":',
        "  expected nothing",
        '  received {"name":"new","description":"A tool.","inputSchema":{}}',
      ].join("\n"),
    )
  })

  test.each<readonly [string, TurnConfig, RegExp]>([
    [
      "a system prompt with a clock",
      changing(({ messages: [, ...rest] }) => ({ messages: [{ role: "system", blocks: [] }, ...rest] })),
      /\(system\)/,
    ],
    ["a message that goes", changing(({ messages: [first, , ...rest] }) => ({ messages: [first as LlmMessage, ...rest] })), /\(message\)/],
    ["a note at the end that is in one request only", noteAtEnd(config), /\(message\), first difference at "\/messages\/2/],
  ])("is broken by %s", (_what, broken, where) => {
    expect(breach(() => expectTurn(broken, START, inputs)).message).toMatch(where)
  })

  test("allows a break that a history record with contextReset marks", () => {
    const marking = (event: Json): TurnConfig => ({
      ...withTool,
      driver: wrapDriver(chatDriver(), {
        prepareIteration(next, context) {
          const actions = next(context)
          return context.iteration === 0 ? actions : [{ type: "append_events", events: [{ type: "protocol", event }] }, ...actions]
        },
      }),
    })
    expectTurn(marking({ type: "any", contextReset: true }), START, inputs)
    for (const event of [{ type: "any", contextReset: false }, { contextReset: "true" }, ["contextReset"], "contextReset", null])
      expect(breach(() => expectTurn(marking(event), START, inputs)).law).toBe("prefix")
  })

  test("compares requests of the same purpose", () => {
    const withPurpose = (purpose: Json): TurnConfig => ({
      ...withTool,
      driver: wrapDriver(chatDriver(), {
        prepareIteration: (next, context) =>
          next(context).map((action) => (action.type === "start_llm" && context.iteration > 0 ? { ...action, driverState: purpose } : action)),
      }),
    })
    expectTurn(withPurpose({ purpose: "judge" }), START, inputs)
    for (const state of [{ other: "judge" }, "purpose", ["purpose"], { purpose: 1 }])
      expect(breach(() => expectTurn(withPurpose(state), START, inputs)).law).toBe("prefix")
  })

  test("can be switched off, and is off where the driver does not use the projector, unless it is switched on", () => {
    expectTurn(withTool, START, inputs, { prefix: false })
    const request = { ...REQUEST, tools: [tool] }
    const answers = [[START_LLM], [{ type: "start_llm", request }, say("one")], [FINISH]] satisfies readonly (readonly DriverAction[])[]
    const scripted = configOf(answers)
    const calls = [POLL, answer(1), POLL, answer(2), POLL]
    expectTurn(scripted, START, calls)
    expect(breach(() => expectTurn(scripted, START, calls, { prefix: true })).difference?.path).toBe("/tools/0")
  })
})

/** A projector that adds a note to each request, which the next one does not have there. */
function noteAtEnd(config: TurnConfig): TurnConfig {
  const projector = wrapProjector(chatProjector, {
    request: ({ messages }, { iteration }) => ({
      messages: [...messages, { role: "user", blocks: [{ type: "text", text: `Iteration ${iteration}` }] }],
    }),
  })
  return { ...config, projector }
}

describe("a broken law", () => {
  test("is reported with its text, the place, the JSON pointer and both values", () => {
    const machine = emitting((effect) => (effect.type === "done" ? { ...effect, outcome: { type: "agent_frame_switch", frameId: "other" } } : effect))
    const error = breach(() => expectTurn(CONFIG, START, INPUTS, { machine }))
    expect(error.difference).toEqual({ path: "/type", received: "agent_frame_switch", expected: "finished" })
    expect(error.message).toBe(
      [
        "Broken: law 6, ending: one turn_outcome, one done event and one done effect, and nothing after them.",
        'input 9 (poll), poll 3: the outcome of done and that of the machine, first difference at "/type":',
        '  expected "finished"',
        '  received "agent_frame_switch"',
      ].join("\n"),
    )
  })
})

function breach(run: () => unknown): LawError {
  try {
    run()
  } catch (error) {
    if (error instanceof LawError) return error
    throw error
  }
  throw new Error("No law was broken.")
}
