import { type EffectContext, type Host, LlmCallError, type Recovered, type ToolAnswer, type ToolEffects, ToolError } from "../../src/hosts/host.ts"
import type { Json } from "../../src/json.ts"
import type { LlmCall } from "../../src/schemas/effect.ts"
import type { LlmResponse } from "../../src/schemas/llm.ts"
import type { PendingToolCall } from "../../src/schemas/tool.ts"

/** One call of a batch, as data. */
export interface ScriptedCall {
  readonly effects: ToolEffects
  /** How a `once` call is looked up. Absent: it cannot be looked up. */
  readonly recover?: "finds" | "knows_nothing" | "throws" | undefined
  readonly answer: "value" | "throws" | "ends_turn"
  readonly value: Json
  /** The number of microtask ticks before the call takes effect, and before it answers. They decide the order of parallel calls. */
  readonly before: number
  readonly after: number
}

/** A turn, as data. */
export interface Script {
  readonly driver: "chat" | "code"
  /** One batch for each iteration; under the code driver, one piece of code. */
  readonly batches: readonly (readonly ScriptedCall[])[]
  readonly modelFails: boolean
  readonly streams: boolean
  readonly syncs: boolean
  /** Checkpoints, by effect id, at which a user's message is delivered. */
  readonly deliverAt: readonly number[]
  readonly toolConcurrency: number
  readonly snapshotEveryRecords: number
  readonly compactAboveChars: number
  /** The number of microtask ticks that a write of the store takes. */
  readonly writeTicks: number
  /** Where appends are torn, from 0 to 1. */
  readonly tear: number
}

/** The state outside the processes, which survives them. */
export interface Memory {
  readonly text: string
  /** The ids of the effects that the persisted text answers, and `effectId:callId` of tool calls. */
  readonly answered: ReadonlySet<string>
  /** The `once` calls whose start was persisted. */
  readonly begun: ReadonlySet<string>
  readonly unknown: ReadonlySet<string>
  /** Everything that took effect, in order. */
  readonly performed: readonly string[]
  /** The emitted `eventDelta`s, as JSON, by process. */
  readonly emitted: readonly (readonly string[])[]
}

export const NOTHING: Memory = { text: "", answered: new Set(), begun: new Set(), unknown: new Set(), performed: [], emitted: [] }

/** A moment at which a process may die. */
export interface Moment {
  readonly kind: string
  readonly memory: Memory
}

/** The number of violations of the promise. */
export interface Violations {
  /** Model calls, deliveries, code and surfaces that were repeated although their answer was persisted. */
  askedAgain: number
  /** Tool calls that ran again although their result was persisted. */
  ranAgain: number
  /** Work that started before the answer that it depends on was persisted. */
  actedEarly: number
  /** `once` calls that ran twice, or before their start was persisted; anything that ran twice in one process, or under another key. */
  beyondPromise: number
}

export const noViolations = (): Violations => ({ askedAgain: 0, ranAgain: 0, actedEarly: 0, beyondPromise: 0 })

export interface Ended {
  /** Outcome, transcript and usage, as JSON. */
  readonly end: string
  readonly memory: Memory
  readonly moments: readonly Moment[]
}

/** A way to break the promise, to test that it is detected. */
export type Fault = "answers_persisted_late" | "starts_not_persisted" | "journal_not_folded"

export interface ProcessOptions {
  readonly fault?: Fault | undefined
  readonly violations: Violations
  /** Awaited at each moment, by its number. A process that hangs there stays alive. */
  readonly hang?: (moment: number) => Promise<void> | undefined
  /** The moment, by its number, at which the turn is cancelled. */
  readonly cancelAt?: number
}

/** The world that a process works in. */
export interface Surroundings {
  memory: Memory
}

const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** One process: its executors, and the moments that it passed. */
export class Process {
  readonly moments: Moment[] = []
  readonly cancelling = new AbortController()
  readonly #world: Surroundings
  readonly #script: Script
  readonly #options: ProcessOptions
  readonly #mine = new Set<string>()
  #count = 0

  constructor(world: Surroundings, script: Script, options: ProcessOptions) {
    this.#world = world
    this.#script = script
    this.#options = options
  }

  note(kind: string, memory: Memory): void {
    this.moments.push({ kind, memory })
  }

  async moment(kind: string): Promise<void> {
    this.note(kind, this.#world.memory)
    const number = this.#count++
    if (number === this.#options.cancelAt) this.cancelling.abort()
    await this.#options.hang?.(number)
  }

  readonly host: Host = {
    llmCall: async (effect, context) => {
      await this.#perform(`${effect.id}`, "model", context)
      await ticks(1)
      if (this.#script.streams) context.emit({ type: "text_delta", content: "…" })
      return this.#answerOf(effect)
    },
    tools: {
      call: async (call, context) => {
        const scripted = this.#callOf(call)
        await ticks(scripted.before)
        await this.#perform(`${context.effectId}:${call.callId}`, scripted.effects, context, scripted.recover === "finds")
        await ticks(scripted.after)
        if (scripted.answer === "throws") throw new ToolError({ class: "execution", code: "scripted", message: "It failed." })
        return toolAnswer(scripted)
      },
      effects: (call) => this.#callOf(call).effects,
      recover: async (call, context) => this.#recover(call, context),
    },
    code: {
      run: async ({ id, code }, context) => {
        await this.#perform(`${id}`, "code", context)
        return { observations: [`ran ${code}`], toolCalls: [], images: [], printedImages: [], durationMs: 0 }
      },
    },
    checkpoint: async ({ id }, context) => {
      await this.#perform(`${id}`, "checkpoint", context)
      if (!this.#script.deliverAt.includes(id)) return undefined
      return { userMessages: [{ id: `d${id}`, role: "user", parts: [{ id: `d${id}.p0`, type: "text", text: `And ${id}.` }] }] }
    },
    syncExecutionSurface: async ({ id }, context) => {
      await this.#perform(`${id}`, "surface", context)
      return id % 2 === 0 ? undefined : { systemPrompt: `Continue from ${id}.`, tools: [] }
    },
    progress: async ({ eventDelta }) => {
      await this.moment("before progress is emitted")
      const { emitted } = this.#world.memory
      const mine = [...(emitted.at(-1) ?? []), JSON.stringify(eventDelta)]
      this.#world.memory = { ...this.#world.memory, emitted: [...emitted.slice(0, -1), mine] }
      await this.moment("after progress was emitted")
    },
  }

  /** Takes effect in the world, and counts violations. */
  async #perform(key: string, what: string, { idempotencyKey }: EffectContext, storesKeys = false): Promise<void> {
    await this.moment("before an executor takes effect")
    const { memory } = this.#world
    const { violations } = this.#options
    if (memory.answered.has(key)) violations[what === "none" || what === "idempotent" || what === "once" ? "ranAgain" : "askedAgain"] += 1
    const before = Number.parseInt(key, 10) - 1
    if (before > 0 && ![...memory.answered].some((answered) => Number.parseInt(answered, 10) === before)) violations.actedEarly += 1
    if (this.#mine.has(key) || idempotencyKey !== `turn-1:${key}`) violations.beyondPromise += 1
    if (what === "once" && (memory.performed.includes(`once ${key}`) || !memory.begun.has(key))) violations.beyondPromise += 1
    this.#mine.add(key)
    // A fenced owner may still perform a call that the new owner found not to have run. Only a receiver that stores keys can drop the repetition.
    const repeated = storesKeys && this.#options.hang !== undefined && memory.performed.includes(`${what} ${key}`)
    if (!repeated) this.#world.memory = { ...memory, performed: [...memory.performed, `${what} ${key}`] }
    await this.moment("after an executor took effect")
  }

  async #recover(call: PendingToolCall, { effectId }: EffectContext): Promise<Recovered> {
    const scripted = this.#callOf(call)
    await this.moment("before a call is looked up")
    if (scripted.recover === "throws") throw new Error("The ledger is not available.")
    if (scripted.recover !== "finds") return undefined
    const key = `${effectId}:${call.callId}`
    if (!this.#world.memory.performed.includes(`once ${key}`)) return { ran: false }
    return { ran: true, answer: scripted.answer === "throws" ? failedAnswer() : toolAnswer(scripted) }
  }

  #callOf({ args }: PendingToolCall): ScriptedCall {
    const { batch, call } = args as { readonly batch: number; readonly call: number }
    return this.#script.batches[batch]?.[call] as ScriptedCall
  }

  #answerOf({ request }: LlmCall): LlmResponse {
    const { batches, modelFails, driver } = this.#script
    const answered = request.messages.filter(({ role }) => role === "assistant").length
    const batch = batches[answered]
    if (batch === undefined) {
      if (modelFails) throw new LlmCallError({ message: "No answer.", retryable: false, code: "scripted", terminalReason: "provider_error" })
      return { text: `All of ${answered} done.`, parts: [], usage: USAGE, terminalReason: "stop" }
    }
    if (driver === "code") return { text: `\`\`\`ts\nstep(${answered})\n\`\`\``, parts: [], usage: USAGE, terminalReason: "stop" }
    const parts = batch.map((_call, call): LlmResponse["parts"][number] => {
      return { type: "tool_call", callId: `c${call}`, toolName: "act", inputJson: JSON.stringify({ batch: answered, call }) }
    })
    return { text: "", parts, usage: USAGE, terminalReason: "tool_use" }
  }
}

/** Yields to other microtasks `count` times. */
export async function ticks(count: number): Promise<void> {
  for (let tick = 0; tick < count; tick += 1) await undefined
}

function toolAnswer({ value, answer }: ScriptedCall): ToolAnswer {
  return { output: { status: "success", value, ...(answer === "ends_turn" && { control: { type: "finish", value: "ended" } }) } }
}

function failedAnswer(): ToolAnswer {
  const { failure } = new ToolError({ class: "execution", code: "scripted", message: "It failed." })
  return { output: { status: "failure", failure } }
}
