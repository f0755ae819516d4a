import { chatDriver } from "../../../src/drivers/chat.ts"
import { type GoalDeliveryOptions, goalDeliveries, mergeDeliveries } from "../../../src/drivers/goal/deliveries.ts"
import { type GoalDriverOptions, goalDriver } from "../../../src/drivers/goal/driver.ts"
import { readGoal } from "../../../src/drivers/goal/history.ts"
import type { GoalPolicy } from "../../../src/drivers/goal/policy.ts"
import { changeGoal, endGoalTurn, type NextTurn, nextTurn } from "../../../src/drivers/goal/thread.ts"
import type { TurnConfig } from "../../../src/machine/config.ts"
import type { ProtocolDriver } from "../../../src/machine/driver.ts"
import { isAnswerable } from "../../../src/machine/transitions.ts"
import type { TurnStart } from "../../../src/schemas/config.ts"
import type { Effect } from "../../../src/schemas/effect.ts"
import type { Goal, GoalCommand, GoalOutput, TurnOrigin } from "../../../src/schemas/goal.ts"
import type { Json } from "../../../src/schemas/json.ts"
import type { LlmFailure, LlmRequest, LlmResponse, OutputPart, TokenUsage } from "../../../src/schemas/llm.ts"
import type { CheckpointDelivery, HistoryRecord, Message } from "../../../src/schemas/message.ts"
import type { LlmComplete, Response } from "../../../src/schemas/response.ts"
import type { ExecResponse } from "../../../src/schemas/tool.ts"
import { TurnMachine } from "../../../src/validated-turn-machine.ts"
import { configOf } from "../../machine/support.ts"

/** The simulated world: a model and, if needed, tools, code and deliveries. Each function gets the number of its earlier calls. */
export interface World {
  readonly model: (calls: number, request: LlmRequest) => LlmComplete["result"]
  readonly tool?: (toolName: string, calls: number) => Json
  readonly code?: (code: string, machine: TurnMachine) => Partial<ExecResponse>
  readonly delivers?: (checkpoint: "after_work" | "before_completion", asked: number) => CheckpointDelivery
}

export interface ThreadHostOptions {
  readonly policy?: GoalPolicy
  readonly inner?: ProtocolDriver
  readonly config?: Partial<TurnConfig>
  readonly driver?: Partial<GoalDriverOptions>
  readonly deliveries?: Partial<GoalDeliveryOptions>
  /** How long each answer takes. Default 1,000. */
  readonly answerMs?: number
}

/** A turn with everything needed to replay it. */
export interface PlayedTurn {
  readonly config: TurnConfig
  readonly start: TurnStart
  readonly machine: TurnMachine
  readonly responses: Response[]
  readonly effects: Effect[]
}

export const LOOK = { name: "look", description: "Looks.", inputSchema: {} }
export const TEN: TokenUsage = { inputTokens: 8, cachedInputTokens: 90, outputTokens: 2, reasoningTokens: 1 }

/** An answer of ten tokens, with a text, calls, or both. */
export function replies(text: string, ...calls: readonly (string | readonly [string, Json])[]): LlmComplete["result"] {
  const parts: OutputPart[] = text === "" ? [] : [{ type: "text", text }]
  calls.forEach((call, index) => {
    const [toolName, args] = typeof call === "string" ? [call, {}] : call
    parts.push({ type: "tool_call", callId: `c${index}`, toolName, inputJson: JSON.stringify(args) })
  })
  const response: LlmResponse = { text, parts, usage: TEN, terminalReason: calls.length > 0 ? "tool_use" : "stop" }
  return { ok: true, response }
}

export function breaks(retryable: boolean, more: Partial<LlmFailure> = {}): LlmComplete["result"] {
  return { ok: false, error: { message: "The server is busy.", retryable, terminalReason: "provider_error", ...more } }
}

/** A host of whole threads that uses only the public API: goal commands, turns on the real machine, and the steps between them. */
export class ThreadHost {
  readonly threadId = "t1"
  readonly #world: World
  readonly #options: ThreadHostOptions
  history: readonly HistoryRecord[] = []
  readonly turns: PlayedTurn[] = []
  readonly waitsMs: number[] = []
  readonly outputs: GoalOutput[] = []
  modelCalls = 0
  toolCalls = 0
  deliveriesAsked = 0
  at = 1_000_000
  #iteration = 0

  constructor(world: World, options: ThreadHostOptions = {}) {
    this.#world = world
    this.#options = options
  }

  get goal(): Goal {
    const { goal } = readGoal(this.history, this.threadId).state
    if (goal === null) throw new Error("There is no goal.")
    return goal
  }

  command(command: GoalCommand): readonly GoalOutput[] {
    const { records, outputs } = changeGoal(this.#thread(), { type: "command", at: this.at, command })
    this.#keep(records)
    return outputs
  }

  /** Runs continuations until the goal rests. Fails the test after more than `most`. */
  runs(most: number): Extract<NextTurn, { type: "rest" }> {
    for (;;) {
      const next = nextTurn(this.#thread(), this.at)
      if (next.type === "rest") return next
      if (next.type !== "continue" || this.turns.length >= most) throw new Error(`The goal still runs after ${this.turns.length} turns.`)
      const { notBefore, message } = next
      if (notBefore !== undefined) {
        this.waitsMs.push(notBefore - this.at)
        this.at = notBefore
      }
      const id = `continue-${this.turns.length}`
      this.turn("continuation", [{ ...message, id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text: message.content }] }])
    }
  }

  says(text: string): TurnMachine {
    const id = `user-${this.turns.length}`
    const message: Message = { id, role: "user", parts: [{ id: `${id}.p0`, type: "text", text }] }
    this.#keep([{ type: "conversation", message }])
    return this.turn("user")
  }

  turn(origin: TurnOrigin, more: readonly Message[] = []): TurnMachine {
    const { policy = {}, inner = chatDriver() } = this.#options
    const turnId = `turn-${this.turns.length}`
    const driver = goalDriver(inner, { threadId: this.threadId, turnId, startedAt: this.at, origin, policy, ...this.#options.driver })
    const config = configOf({ tools: [LOOK], ...this.#options.config, driver })
    const said = this.history.flatMap((record) => (record.type === "conversation" ? [record.message] : []))
    const start = { messages: [...said, ...more], events: [...this.history], iterationOffset: this.#iteration }
    const machine = new TurnMachine(config, start)
    const turn: PlayedTurn = { config, start, machine, responses: [], effects: [] }
    this.turns.push(turn)
    for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) {
      turn.effects.push(effect)
      const response = this.#perform(machine, effect)
      if (response === undefined) continue
      turn.responses.push(response)
      machine.handle(response)
    }
    const { outcome, events, usage, iteration } = machine
    if (outcome === undefined) throw new Error("The turn has not ended.")
    this.#iteration = iteration + 1
    this.history = events
    const { costMicros } = this.#options.driver ?? {}
    const { records, outputs } = endGoalTurn(this.#thread(), { turnId, outcome, usage, ...(costMicros !== undefined && { costMicros }) }, this.at)
    this.#keep(records)
    this.outputs.push(...outputs)
    return machine
  }

  #perform(machine: TurnMachine, effect: Effect): Response | undefined {
    if (!isAnswerable(effect)) return undefined
    this.at += this.#options.answerMs ?? 1000
    const { id } = effect
    const { at } = this
    const world = this.#world
    switch (effect.type) {
      case "llm_call": {
        const result = world.model(this.modelCalls, effect.request)
        this.modelCalls += 1
        return { type: "llm_complete", id, at, result }
      }
      case "tool_calls": {
        const results = effect.calls.map((call) => {
          const value = world.tool?.(call.toolName, this.toolCalls) ?? "nothing new"
          this.toolCalls += 1
          return { ...call, output: { status: "success", value }, durationMs: 1 } as const
        })
        return { type: "tool_results", id, at, results }
      }
      case "exec_code": {
        const run = world.code?.(effect.code, machine) ?? {}
        return {
          type: "exec_result",
          id,
          at,
          result: { ok: true, value: { observations: [], toolCalls: [], images: [], printedImages: [], durationMs: 1, ...run } },
        }
      }
      case "checkpoint": {
        const { policy = {} } = this.#options
        const own = world.delivers?.(effect.checkpoint, this.deliveriesAsked) ?? {}
        this.deliveriesAsked += 1
        const goals = goalDeliveries(machine.history, effect.checkpoint, at, { threadId: this.threadId, policy, ...this.#options.deliveries })
        return { type: "checkpoint_delivery", id, at, delivery: mergeDeliveries(own, goals) }
      }
      case "sync_execution_surface":
        return { type: "execution_surface_synced", id, at, result: { ok: true } }
    }
  }

  #thread(): Parameters<typeof nextTurn>[0] {
    const { policy = {} } = this.#options
    return { threadId: this.threadId, history: this.history, policy }
  }

  #keep(records: readonly HistoryRecord[]): void {
    this.history = [...this.history, ...records]
  }
}
