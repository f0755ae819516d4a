import { getEventListeners } from "node:events"
import type { EffectContext, Host, Recovered, ToolAnswer } from "../../src/hosts/host.ts"
import { LlmCallError, ToolError } from "../../src/hosts/host.ts"
import { redirectRun } from "../../src/hosts/run/wake-run.ts"
import type { Done, LlmCall, Progress } from "../../src/schemas/effect.ts"
import type { TurnEvent } from "../../src/schemas/event.ts"
import type { LlmResponse, OutputPart } from "../../src/schemas/llm.ts"
import type { ExecResponse, PendingToolCall } from "../../src/schemas/tool.ts"
import type { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { Fault, Place, ScriptedTool } from "./script.ts"
import { callKey, type TurnFacts, type World } from "./world.ts"

const USAGE = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }

/** Ends the run instead of the effect. */
export class FatalError extends Error {}

export const isFatal = (error: unknown): boolean => error instanceof FatalError

/** Where an error is a failure of its effect, and does not end the run. */
const EXECUTORS: ReadonlySet<Place> = new Set<Place>([
  "llm begins",
  "llm ends",
  "tool begins",
  "tool ends",
  "recover",
  "code begins",
  "code ends",
  "code recover",
  "checkpoint",
  "sync",
])

export function never<Value>(): Promise<Value> {
  return new Promise(() => {})
}

async function ticks(count: number): Promise<void> {
  for (let tick = 0; tick < count; tick += 1) await undefined
}

/** How a process left. */
export type Departure = "killed" | "taken over"

/** One process: its host, and what goes wrong in it. */
export class Life {
  readonly world: World
  readonly controller = new AbortController()
  readonly takeOver: boolean
  /** Errors that may end the run. */
  readonly ends = new Set<unknown>()
  /** A call of the process waits until its signal is aborted. */
  hangs = 0
  /** A call of the process never ends. */
  stuck: Fault | undefined
  isAlive = true
  /** Its journal was taken from it. */
  isFenced = false
  /** Its run has ended: nothing may be called any more. */
  hasEnded = false
  /** The journals that it opened and did not close. */
  open = 0
  /** A journal could not be closed, or not be opened. */
  leavesOpen = false
  turnId = "turn-1"
  /** How many model calls were begun by this process. */
  executions = 0
  /** Calls that returned while their turn was being cancelled. */
  readonly late = new Set<string>()
  readonly departed: Promise<Departure>
  readonly #isFaulty: boolean
  readonly #contexts: EffectContext[] = []
  #depart: (how: Departure) => void = () => {}
  #checkpoints = 0
  #dones = 0
  #ended: string[] = []

  constructor(world: World, { isFaulty, takeOver }: { readonly isFaulty: boolean; readonly takeOver: boolean }) {
    this.world = world
    this.takeOver = takeOver
    this.#isFaulty = isFaulty
    this.departed = new Promise((resolve) => {
      this.#depart = resolve
    })
    world.figures.processes += 1
  }

  get signal(): AbortSignal {
    return this.controller.signal
  }

  abort(): void {
    if (this.signal.aborted) return
    this.world.figures.aborts += 1
    this.controller.abort("The user stopped.")
  }

  /** The machine that the run loop runs now. */
  machine: TurnMachine | undefined

  #redirect(): void {
    const { machine, world } = this
    if (machine === undefined || !this.isAlive) return
    const number = world.redirects++
    const id = `r${number}`
    const text = `Redirected ${number}.`
    const redirected = redirectRun(machine, [{ id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }] }])
    redirected.then(
      (isRedirected) => {
        if (isRedirected) world.figures.redirects += 1
        const times = JSON.stringify(machine.messages).split(JSON.stringify(text)).length - 1
        if (times !== (isRedirected ? 1 : 0)) world.wrong("after a redirection its message is in the turn", times, "times:", text, isRedirected)
      },
      () => {},
    )
  }

  kill(): void {
    if (!this.isAlive) return
    this.isAlive = false
    this.world.figures.kills += 1
    this.world.clock.drop(this)
    this.#depart("killed")
  }

  /** Passes a place. Something may go wrong: then it throws, or returns a promise, or the fault for the caller to carry out. */
  pass(place: Place, signal?: AbortSignal): Promise<Fault | undefined> | Fault | undefined {
    if (!this.isAlive) return never()
    // Executors that are still running may end later.
    if (this.hasEnded && !place.endsWith("ends")) this.world.wrong("something is called after the run has ended:", place)
    const fault = this.#faultAt(place)
    if (fault === undefined) return undefined
    const { what, much } = fault
    const { figures, clock } = this.world
    if (place.startsWith("store") && what !== "delay") figures.storeFaults += 1
    switch (what) {
      case "delay":
        figures.delays += 1
        return much < 50 ? ticks(much).then(() => undefined) : clock.wait(much).then(() => this.#alive(undefined))
      case "throws":
        throw this.#error(place, new Error("It failed."))
      case "fatal":
        throw this.#error(place, new FatalError("The engine stops."))
      case "rejects":
        return ticks(much % 4).then(() => {
          throw this.#error(place, new Error("It failed later."))
        })
      case "hangs":
        if (signal === undefined) return undefined
        figures.hangs += 1
        return this.#hang(signal, much)
      case "stuck":
        figures.hangs += 1
        this.stuck = fault
        return never()
      case "aborts":
        this.abort()
        return undefined
      case "redirects":
        this.#redirect()
        return undefined
      case "kill":
        this.kill()
        return never()
      case "taken over":
        if (this.isFenced || !canBeTakenOver(this.world.script.shape)) return undefined
        this.isFenced = true
        figures.takeOvers += 1
        this.world.wasTakenOver = true
        // It may take the journal back, if it had not opened it yet.
        this.world.isContested ||= this.takeOver
        this.#depart("taken over")
        return clock.wait(much % 10).then(() => this.#alive(undefined))
      default:
        return fault
    }
  }

  /** As {@link Life.pass}, where nothing can be awaited. */
  passSync(place: Place): void {
    const passed = this.pass(place)
    if (passed instanceof Promise) passed.catch(() => {})
  }

  #faultAt(place: Place): Fault | undefined {
    if (!this.#isFaulty) return undefined
    const nth = this.world.reach(place)
    return this.world.script.faults.find((fault) => fault.at === place && fault.nth === nth)
  }

  #error(place: Place, error: Error): Error {
    this.world.figures.throws += 1
    if (!EXECUTORS.has(place) || isFatal(error)) this.ends.add(error)
    return error
  }

  #alive<Value>(value: Value): Promise<Value> | Value {
    return this.isAlive ? value : never()
  }

  async #hang(signal: AbortSignal, much: number): Promise<undefined> {
    this.hangs += 1
    if (!signal.aborted)
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true })
      })
    this.hangs -= 1
    await ticks(much % 8)
    if (much % 3 === 0) throw new Error("Aborted.")
    return this.#alive(undefined)
  }

  /** Checks what must hold when an executor begins. */
  #begins(effectId: number, callId: string | undefined, context: EffectContext, isOnce: boolean): TurnFacts {
    const { world } = this
    const facts = world.turn(this.turnId)
    const key = callKey(effectId, callId)
    world.figures.executions += 1
    this.executions += 1
    this.#contexts.push(context)
    if (this.hasEnded) world.wrong("an executor begins after the run has ended:", key)
    if (context.idempotencyKey !== `${this.turnId}:${key}`)
      world.wrong("an idempotency key is", context.idempotencyKey, "instead of", `${this.turnId}:${key}`)
    if (!this.isFenced && !world.isContested) {
      if (facts.answered.has(key)) world.wrong("an answer is asked for again:", this.turnId, key)
      if (world.script.shape !== "saved" && effectId > 1 && ![...facts.answered].some((other) => Number.parseInt(other, 10) === effectId - 1))
        world.wrong("work begins before the answer before it is stored:", this.turnId, key)
      const { saved } = world
      if (world.script.shape === "saved" && saved?.outstanding !== effectId)
        world.wrong("work begins that is not in the saved checkpoint:", key, saved?.outstanding)
    }
    if (isOnce) {
      const call = facts.once.get(key) ?? { begun: 0, effects: 0, mayBegin: true }
      facts.once.set(key, call)
      if (!call.mayBegin) world.wrong("a once call begins twice:", this.turnId, key)
      if (!facts.started.has(key)) world.wrong("a once call begins before its start is stored:", this.turnId, key)
      call.mayBegin = false
      call.begun += 1
      world.figures.once += 1
    }
    return facts
  }

  /** Takes effect, unless the process is gone or its run has ended. */
  #takesEffect(facts: TurnFacts, key: string): void {
    const call = facts.once.get(key)
    if (call === undefined || this.hasEnded || !this.isAlive) return
    call.effects += 1
    if (call.effects > 1) this.world.wrong("a once call takes effect twice:", this.turnId, key)
  }

  #isOnce({ effects }: Pick<ScriptedTool, "effects">): boolean {
    return effects === "once" && this.world.script.shape !== "saved"
  }

  #toolOf({ toolName }: PendingToolCall): ScriptedTool | undefined {
    return this.world.script.tools[Number(toolName.slice("tool".length))]
  }

  // --- the host

  get host(): Host {
    const { code } = this.world.script
    return {
      llmCall: (effect, context) => this.#llmCall(effect, context, this.pass("llm begins", context.signal)),
      tools: {
        call: (call, context) => {
          const tool = this.#toolOf(call)
          if (tool === undefined) throw new ToolError({ class: "unavailable", code: "unknown_tool", message: "failed: no such tool" })
          const facts = this.#begins(context.effectId, call.callId, context, this.#isOnce(tool))
          return this.#toolCall(tool, call, context, facts, this.pass("tool begins", context.signal))
        },
        effects: (call) => {
          this.passSync("effects")
          const { effects = "none" } = this.#toolOf(call) ?? {}
          return effects === "once" && this.world.script.shape === "saved" ? "idempotent" : effects
        },
        recover: async (call, context) => {
          const tool = this.#toolOf(call)
          const recovered = await this.#recover(tool, callKey(context.effectId, call.callId), "recover", context)
          return recovered === undefined ? undefined : recovered.ran ? { ran: true, answer: toolAnswer(tool as ScriptedTool, call) } : recovered
        },
      },
      code: {
        effects: this.#isOnce(code) ? "once" : code.effects === "none" ? "none" : "idempotent",
        run: (effect, context) => {
          const facts = this.#begins(effect.id, undefined, context, this.#isOnce(code))
          return this.#exec(effect.id, facts, this.pass("code begins", context.signal))
        },
        recover: async ({ id }, context) => {
          const recovered = await this.#recover(code, callKey(id), "code recover", context)
          return recovered?.ran === true ? { ran: true, answer: execAnswer(id) } : recovered
        },
      },
      checkpoint: async (effect, context) => {
        scribble(effect)
        this.#begins(effect.id, undefined, context, false)
        const number = this.#checkpoints++
        const fault = await this.pass("checkpoint", context.signal)
        if (fault?.what === "garbage") return { userMessages: "all" } as never
        if (!this.world.script.deliverAt.includes(number)) return undefined
        const message = { id: `d${effect.id}`, role: "user" as const, parts: [{ id: `d${effect.id}.p0`, type: "text" as const, text: "And this." }] }
        return this.#laterChanged({ userMessages: [message] })
      },
      syncExecutionSurface: async (effect, context) => {
        this.#begins(effect.id, undefined, context, false)
        const fault = await this.pass("sync", context.signal)
        if (fault?.what === "garbage") return { systemPrompt: 1 } as never
        return effect.id % 2 === 0 ? undefined : { systemPrompt: `Continue from ${effect.id}.`, tools: [] }
      },
      progress: async (effect) => {
        await this.pass("progress")
        this.#report(effect)
      },
      save: async (machine) => {
        await this.pass("save")
        if (this.isAlive) this.save?.(machine)
      },
    }
  }

  /** Stores a checkpoint. */
  save: ((machine: TurnMachine) => void) | undefined

  readonly onEvent = (event: TurnEvent): unknown => {
    if (!this.isAlive) return undefined
    if (event.type === "text_delta" && event.content === TOO_LATE) this.world.wrong("an event comes after the end of its executor")
    if (this.#ended.includes("done")) this.world.wrong("an event comes after the end:", event)
    if (event.type === "done" || event.type === "turn_outcome") {
      if (this.#ended.includes(event.type)) this.world.wrong("the turn ends twice:", event.type)
      this.#ended.push(event.type)
    }
    scribble(event)
    const passed = this.pass("event")
    return passed instanceof Promise ? passed : undefined
  }

  readonly onLog = (event: unknown): unknown => {
    scribble(event)
    const passed = this.pass("log")
    return passed instanceof Promise ? passed : undefined
  }

  readonly now = (): number => {
    this.passSync("now")
    return this.world.clock.now
  }

  readonly asyncNow = async (): Promise<number> => {
    await this.pass("now")
    return this.world.clock.now
  }

  /** A new turn begins: it has an end of its own. */
  newTurn(turnId: string): void {
    this.turnId = turnId
    this.#ended = []
    this.#dones = 0
    this.#checkpoints = 0
  }

  #report(effect: Progress | Done): void {
    if (!this.isAlive) return
    const { shape } = this.world.script
    // A thread has records between its turns, and one history.
    if (this.#dones > 0 && shape !== "thread") this.world.wrong("something is reported after done:", effect.type)
    if (effect.type === "done") this.#dones += 1
    this.world.keep(shape === "thread" ? shape : this.turnId, effect.recordsFrom, effect.eventDelta)
    scribble(effect)
  }

  async #llmCall(effect: LlmCall, context: EffectContext, passed: ReturnType<Life["pass"]>): Promise<LlmResponse> {
    const { world } = this
    const { answers, streams } = world.script
    const facts = this.#begins(effect.id, undefined, context, false)
    const { id, request } = effect
    const { messages } = request
    world.checkPairs(request)
    const place = messages.filter(({ role }) => role === "assistant").length
    for (const shared of [effect, request, messages, messages.at(-1), messages.at(-1)?.blocks, messages.at(-1)?.blocks[0]]) scribble(shared)
    const asked = facts.asked.get(id) ?? 0
    facts.asked.set(id, asked + 1)
    let fault = await passed
    if (streams) {
      context.emit({ type: "reasoning_delta", content: "Thinking." })
      context.emit({ type: "text_delta", content: `Said ${id}.` })
    }
    // A model that is asked again may answer differently.
    const answer = answers[place] === undefined ? undefined : answers[(place + asked) % answers.length]
    fault = (await this.pass("llm ends", context.signal)) ?? fault
    if (fault?.what === "garbage") return { text: 3, parts: "none" } as never
    const said: OutputPart[] = [{ type: "text", text: `Said ${id}.` }]
    const response = (parts: OutputPart[], terminalReason: LlmResponse["terminalReason"]): LlmResponse => {
      const text = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
      return this.#laterChanged({ text, parts, usage: { ...USAGE }, terminalReason })
    }
    switch (answer?.type) {
      case undefined:
        return response(said, "stop")
      case "text":
        return response(said, answer.reason)
      case "code":
        return response([{ type: "text", text: `Said ${id}.\n${"```ts\nstep()\n```\n".repeat(answer.count)}` }], "stop")
      case "goal_done":
        return response([{ type: "tool_call", callId: `g${id}`, toolName: "update_goal", inputJson: '{"status":"complete"}' }], "tool_use")
      case "fails": {
        const failure = { message: "No answer.", code: "scripted", retryable: answer.retryable, terminalReason: "provider_error" as const }
        throw new LlmCallError(failure, answer.partial ? { partial: response(said, "provider_error") } : {})
      }
      case "calls": {
        const calls = answer.calls.map(({ tool, args }, index): OutputPart => {
          return { type: "tool_call", callId: `c${id}.${index}`, toolName: `tool${tool}`, inputJson: args === "whole" ? `{"n":${index}}` : '{"n":' }
        })
        return response([...(answer.said || streams ? said : []), ...calls], answer.reason)
      }
    }
  }

  async #toolCall(
    tool: ScriptedTool,
    call: PendingToolCall,
    context: EffectContext,
    facts: TurnFacts,
    passed: ReturnType<Life["pass"]>,
  ): Promise<ToolAnswer> {
    // A tool may change its own copy.
    if (typeof call.args === "object" && call.args !== null) (call.args as Record<string, unknown>)["n"] = "changed"
    await ticks(tool.before)
    let fault = await passed
    this.#takesEffect(facts, callKey(context.effectId, call.callId))
    context.emit({ type: "text_delta", content: "" })
    await ticks(tool.after)
    fault = (await this.pass("tool ends", context.signal)) ?? fault
    if (fault?.what === "garbage" || tool.ends === "invalid") return { output: { status: "success", value: new Map() } } as never
    if (tool.ends === "throws") throw new Error(`failed: threw ${call.callId}`)
    const key = callKey(context.effectId, call.callId)
    // What a call that is being cancelled says in time counts.
    if (context.signal.aborted && !this.hasEnded && this.world.script.cancelGraceMs > 0) this.late.add(key)
    return this.#laterChanged(toolAnswer(tool, call), context)
  }

  async #exec(id: number, facts: TurnFacts, passed: ReturnType<Life["pass"]>): Promise<ExecResponse> {
    const { code } = this.world.script
    let fault = await passed
    this.#takesEffect(facts, callKey(id))
    fault = (await this.pass("code ends")) ?? fault
    if (fault?.what === "garbage" || code.ends === "invalid") return { observations: 1 } as never
    if (code.ends === "throws") throw new Error("failed: code threw")
    return this.#laterChanged(execAnswer(id))
  }

  async #recover(
    tool: Pick<ScriptedTool, "recover"> | undefined,
    key: string,
    place: "recover" | "code recover",
    context: EffectContext,
  ): Promise<Recovered<undefined>> {
    this.world.figures.lookUps += 1
    const fault = await this.pass(place, context.signal)
    if (fault?.what === "garbage") return { ran: "perhaps" } as never
    const call = this.world.turn(this.turnId).once.get(key)
    if (tool?.recover === "throws") throw new Error("The ledger is not available.")
    if (tool?.recover !== "finds") return undefined
    if (call !== undefined && call.effects > 0) return { ran: true, answer: undefined }
    // Only the receiver could know whether a process that is alive still performs it.
    if (this.world.wasTakenOver) return undefined
    if (call !== undefined) call.mayBegin = true
    return { ran: false }
  }

  /** A value that its executor changes after it returned it, and an executor that goes on. */
  #laterChanged<Value extends object>(value: Value, context?: EffectContext): Value {
    void (async () => {
      // An answer is copied when its time is known.
      for (const pause of [this.world.script.asyncNow ? 20 : 4, 1, 2, 3, 5, 8]) {
        await ticks(pause)
        change(value)
      }
      context?.emit({ type: "text_delta", content: TOO_LATE })
    })()
    return value
  }

  /** Checks what must hold when a run has ended. */
  ended(): void {
    const { world } = this
    this.hasEnded = true
    const { length } = getEventListeners(this.signal, "abort")
    if (length > 0) world.wrong("listeners are left on the signal:", length)
    const timers = world.clock.left(this)
    // The heartbeat of a journal that could not be closed goes on.
    if (timers > 0 && !this.leavesOpen) world.wrong("timers are left:", timers)
    // Executors that are still running emit later: nothing may receive it.
    for (const context of this.#contexts) context.emit({ type: "text_delta", content: "late" })
  }
}

/** Whether a second owner can take the turn from a living one. */
export function canBeTakenOver(shape: string): boolean {
  return shape === "journaled" || shape === "thread"
}

/** An event that comes after the end of its executor. */
const TOO_LATE = "too late"

/** Changes a value in all of its depth. */
function change(value: object): void {
  for (const [key, member] of Object.entries(value)) {
    if (typeof member === "object" && member !== null) change(member)
    else Reflect.set(value, key, "changed later")
  }
}

/** Tries to change a value that the turn may share. */
function scribble(value: unknown): void {
  if (typeof value !== "object" || value === null) return
  for (const key of Object.keys(value)) if (key !== "type" && key !== "recordsFrom") Reflect.set(value, key, "scribbled")
  Reflect.set(value, "added", true)
}

function toolAnswer({ ends }: ScriptedTool, { callId }: PendingToolCall): ToolAnswer {
  if (ends === "fails") {
    const { failure } = new ToolError({ class: "execution", code: "scripted", message: `failed: ${callId}` })
    return { output: { status: "failure", failure } }
  }
  return {
    output: {
      status: "success",
      value: { said: `value of ${callId}` },
      ...(ends === "ends_turn" && { control: { type: "finish", value: "ended" } }),
    },
  }
}

function execAnswer(id: number): ExecResponse {
  return { observations: [`value of ${id}`], toolCalls: [], images: [], printedImages: [], durationMs: 0 }
}
