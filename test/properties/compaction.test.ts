import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { codeDriver } from "../../src/drivers/code.ts"
import { compactingDriver } from "../../src/drivers/compaction/driver.ts"
import type { CompactingDriverOptions } from "../../src/drivers/compaction/settings.ts"
import { applyGoal } from "../../src/drivers/goal/apply-goal.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import { newGoalState } from "../../src/drivers/goal/goal.ts"
import { readGoal } from "../../src/drivers/goal/history.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import { tokensOf } from "../../src/machine/limits.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import { viewProjector } from "../../src/projectors/view.ts"
import { CompactionFailed, CompactionNeeded, CompactionRecord } from "../../src/schemas/compaction.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { Json } from "../../src/schemas/json.ts"
import type { LlmRequest, OutputPart, TokenUsage } from "../../src/schemas/llm.ts"
import type { HistoryRecord } from "../../src/schemas/message.ts"
import type { Response } from "../../src/schemas/response.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import type { TurnInput } from "../../src/testing/turn-input.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import { failuresOf, isCompactionRequest, long, recordsOf } from "../drivers/compaction/support.ts"
import { configOf, pollAll, userMessage } from "../machine/support.ts"
import { check, SLOW } from "./check.ts"

const LOOK = { name: "look", description: "Looks.", inputSchema: { type: "object" } } as const
const GOAL = { threadId: "t1", turnId: "turn-1", startedAt: 0 }
const OBJECTIVE = "Count every last heron."

const DRIVERS: { readonly [name: string]: (options: CompactingDriverOptions) => ProtocolDriver } = {
  chat: (options) => compactingDriver(chatDriver(), options),
  code: (options) => compactingDriver(codeDriver(), options),
  "goal outside": (options) => goalDriver(compactingDriver(chatDriver(), options), GOAL),
  "goal inside": (options) => compactingDriver(goalDriver(chatDriver(), GOAL), options),
  "approval inside": (options) => compactingDriver(approvalDriver(chatDriver(), { policy }), options),
  "approval outside, goal outside": (options) => goalDriver(approvalDriver(compactingDriver(chatDriver(), options), { policy }), GOAL),
  "approval outside, goal inside": (options) => approvalDriver(compactingDriver(goalDriver(chatDriver(), GOAL), options), { policy }),
  "goal between, approval inside": (options) => compactingDriver(goalDriver(approvalDriver(chatDriver(), { policy }), GOAL), options),
}

function policy({ args }: { readonly args: Json }): "run" | { readonly hold: object } {
  return (args as { readonly hold?: boolean }).hold === true ? { hold: {} } : "run"
}

/** What happens at an effect. */
const aMove = fc.record({
  /** What the model does: calls (with the size of each result), text, an overflow in three ways, a failure, a cancellation. */
  model: fc.oneof(
    {
      weight: 10,
      arbitrary: fc.record({ type: fc.constant("calls" as const), sizes: fc.array(fc.nat({ max: 400 }), { minLength: 1, maxLength: 3 }) }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constantFrom("overflow" as const, "overflow_answer" as const, "overflow_partial" as const) }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant("says" as const), size: fc.nat({ max: 200 }) }) },
  ),
  /** How a compaction is answered. */
  summary: fc.oneof(
    { weight: 6, arbitrary: fc.record({ type: fc.constant("summary" as const), size: fc.nat({ max: 60 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constantFrom("empty" as const, "calls" as const, "fails" as const, "overflows" as const, "cut" as const, "huge" as const),
      }),
    },
  ),
  hold: fc.boolean(),
  /** What a checkpoint delivers. */
  delivery: fc.oneof(
    { weight: 8, arbitrary: fc.constant("nothing" as const) },
    { weight: 1, arbitrary: fc.constantFrom("user" as const, "request" as const, "summary" as const, "cause" as const) },
  ),
  /** Whether the host redirects the turn instead, with what a model call had said until then. */
  redirect: fc.oneof({ weight: 14, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.record({ said: fc.nat({ max: 60 }) }) }),
})
type Move = typeof aMove extends fc.Arbitrary<infer Value> ? Value : never

const aGame = fc.record({
  driver: fc.constantFrom(...Object.keys(DRIVERS)),
  window: fc.constantFrom(undefined, 1_000, 2_000),
  options: fc.record({
    keepTailTokens: fc.constantFrom(0, 100, 1_000),
    keepUserTokens: fc.constantFrom(0, 100, 1_000),
    maxFailures: fc.constantFrom(1, 3),
    minGain: fc.constantFrom(0, 0.3),
  }),
  moves: fc.array(aMove, { minLength: 10, maxLength: 40 }),
})

class Game {
  readonly driver: string
  readonly inputs: TurnInput[] = [{ type: "poll" }]
  readonly machine: TurnMachine
  readonly config: ReturnType<typeof configOf>
  readonly start: { readonly messages: ReturnType<typeof userMessage>[]; readonly events: readonly HistoryRecord[] }
  readonly said: string[] = ["u1"]
  spent = 0
  // One time for all: what was held must not depend on how results are split.
  readonly at = 1
  #steps = 0

  constructor(driver: string, window: number | undefined, options: CompactingDriverOptions) {
    this.driver = driver
    this.config = configOf({
      driver: (DRIVERS[driver] as (typeof DRIVERS)[string])(options),
      projector: viewProjector(chatProjector),
      tools: [LOOK],
      maxResultTokens: 10_000,
      ...(window !== undefined && { maxContextTokens: window }),
    })
    this.start = { messages: [userMessage("Do the work.")], events: driver.includes("goal") ? goalRecords() : [] }
    this.machine = new TurnMachine(this.config, this.start)
    pollAll(this.machine)
  }

  give(response: Response): readonly Effect[] {
    expect(this.machine.handle(response)).toEqual({ status: "accepted" })
    this.inputs.push({ type: "respond", response }, { type: "poll" })
    return pollAll(this.machine)
  }

  play(moves: readonly Move[]): void {
    for (const move of moves) {
      const { outstanding } = this.machine
      if (outstanding === undefined) return
      this.#steps += 1
      if (move.redirect === undefined) this.#answer(outstanding, move)
      else this.#redirect(outstanding, move.redirect.said)
    }
  }

  #redirect(outstanding: NonNullable<TurnMachine["outstanding"]>, said: number): void {
    const id = `u${this.#steps + 1}`
    this.said.push(id)
    const text = "r".repeat(said)
    const partial =
      outstanding.type === "llm_call" && said > 0
        ? ({ text, parts: [{ type: "text", text }], usage: this.#usage(said), terminalReason: "cancelled" } as const)
        : undefined
    const command = { type: "redirect", messages: [userMessage(`Instead ${id}.`, id)], at: this.at, ...(partial && { partial }) } as const
    this.machine.command(command)
    this.inputs.push(command, { type: "poll" })
    pollAll(this.machine)
  }

  #answer(outstanding: NonNullable<TurnMachine["outstanding"]>, move: Move): void {
    const { id } = outstanding
    const { at } = this
    switch (outstanding.type) {
      case "llm_call":
        this.checkRequest(outstanding.request)
        this.give({ ...(isCompactionRequest(outstanding.request) ? this.#summary(id, move) : this.#model(id, move)), at })
        return
      case "tool_calls": {
        const held = outstanding.held ?? []
        if (held.length > 0) {
          this.give({ type: "tool_decisions", id, at, decisions: held.map(({ requestId, digest }) => ({ requestId, digest, decision: "approve" })) })
          return
        }
        const results = outstanding.calls.map((call) => {
          const { size = 1 } = call.args as { readonly size?: number }
          return { ...call, output: { status: "success", value: long(size) }, durationMs: 1 } as const
        })
        this.give({ type: "tool_results", id, at, results })
        return
      }
      case "exec_code": {
        const [, size = "1"] = /look\((\d+)\)/.exec(outstanding.code) ?? []
        this.give({
          type: "exec_result",
          id,
          at,
          result: { ok: true, value: { observations: [long(Number(size))], toolCalls: [], images: [], printedImages: [], durationMs: 1 } },
        })
        return
      }
      case "checkpoint":
        this.give({ type: "checkpoint_delivery", id, at, delivery: this.#delivery(move) })
        return
      default:
        throw new Error(outstanding.type)
    }
  }

  #usage(text: number): TokenUsage {
    this.spent += 10 + text
    return { inputTokens: 10, cachedInputTokens: 0, outputTokens: text, reasoningTokens: 0 }
  }

  #text(id: number, text: string, terminalReason: "stop" | "context_overflow" | "output_limit" = "stop"): Response {
    return {
      type: "llm_complete",
      id,
      result: { ok: true, response: { text, parts: text === "" ? [] : [{ type: "text", text }], usage: this.#usage(text.length), terminalReason } },
    }
  }

  #calls(id: number, sizes: readonly number[], hold: boolean): Response {
    if (this.driver === "code") return this.#text(id, `\`\`\`js\nlook(${sizes.reduce((sum, size) => sum + size, 0)})\n\`\`\``)
    const parts = sizes.map((size, index): OutputPart => {
      // Ids repeat from batch to batch, as with some providers.
      return { type: "tool_call", callId: `c${index}`, toolName: "look", inputJson: JSON.stringify({ size, hold: hold && index === 0 }) }
    })
    return { type: "llm_complete", id, result: { ok: true, response: { text: "", parts, usage: this.#usage(5), terminalReason: "tool_use" } } }
  }

  #fails(id: number, isOverflow: boolean, hasPartial = false): Response {
    const error = isOverflow
      ? ({ message: "Too long.", retryable: false, kind: "context_overflow", terminalReason: "context_overflow" } as const)
      : ({ message: "Busy.", retryable: true, kind: "overloaded", terminalReason: "provider_error" } as const)
    if (!hasPartial) return { type: "llm_complete", id, result: { ok: false, error } }
    const partial = {
      text: "So far",
      parts: [{ type: "text", text: "So far" } as const],
      usage: this.#usage(6),
      terminalReason: "context_overflow",
    } as const
    return { type: "llm_complete", id, result: { ok: false, error, partial } }
  }

  #model(id: number, { model, hold }: Move): Response {
    switch (model.type) {
      case "calls":
        return this.#calls(id, model.sizes, hold)
      case "says":
        return this.#text(id, `Answer ${this.#steps}. ${long(model.size)}`)
      case "overflow_answer":
        return this.#text(id, hold ? "So far" : "", "context_overflow")
      default:
        return this.#fails(id, true, model.type === "overflow_partial")
    }
  }

  #summary(id: number, { summary, hold }: Move): Response {
    switch (summary.type) {
      case "summary":
        return this.#text(id, `Summary ${this.#steps}. ${"s".repeat(4 * summary.size)}`)
      case "huge":
        return this.#text(id, long(3_000))
      case "empty":
        return this.#text(id, "")
      case "calls":
        return this.driver === "code" ? this.#text(id, " ") : this.#calls(id, [1], false)
      case "cut":
        return this.#text(id, "Half", "output_limit")
      default:
        return this.#fails(id, summary.type === "overflows", hold)
    }
  }

  #delivery({ delivery }: Move): object {
    const { messages } = this.machine
    switch (delivery) {
      case "user": {
        const id = `u${this.#steps + 1}`
        this.said.push(id)
        return { userMessages: [userMessage(`More ${id}.`, id)] }
      }
      case "request":
        return { events: [{ type: "compaction_requested" }] }
      case "summary": {
        const [count, through] = [Math.max(1, messages.length - 2), Math.max(0, messages.length - 4)]
        const event = {
          type: "compaction_delivered",
          base: { messageId: messages[count - 1]?.id, count },
          through: messages[through]?.id,
          summary: "From outside.",
        }
        return { events: [event] }
      }
      case "cause":
        return { turnCauses: [{ id: `e${this.#steps}`, eventType: "mail", origin: { type: "plugin", pluginId: "mail" }, text: "A mail." }] }
      default:
        return {}
    }
  }

  /** Laws of each request: calls and results together; what was last said by a user is in it; the goal is in it after a compaction. */
  checkRequest(request: LlmRequest): void {
    const { messages } = request
    for (const [index, { role, blocks }] of messages.entries()) {
      const calls = blocks.flatMap((block) => (block.type === "tool_call" ? [block.callId] : []))
      const results = blocks.flatMap((block) => (block.type === "tool_result" ? [block.callId] : []))
      if (role === "assistant") {
        const next = messages[index + 1]?.blocks.flatMap((block) => (block.type === "tool_result" ? [block.callId] : [])) ?? []
        expect(next).toEqual(calls)
      } else if (results.length > 0) {
        expect(messages[index - 1]?.blocks.flatMap((block) => (block.type === "tool_call" ? [block.callId] : []))).toEqual(results)
      }
    }
    if (isCompactionRequest(request)) return
    const text = JSON.stringify(messages)
    if (recordsOf(this.machine.history).length > 0 && this.driver.includes("goal")) expect(text).toContain(OBJECTIVE)
    // Input since the last answer is shown word for word.
    const all = this.machine.messages
    for (let index = all.length - 1; index >= 0 && all[index]?.role === "user"; index -= 1) {
      for (const part of all[index]?.parts ?? []) if (part.type === "text") expect(text).toContain(part.text.slice(0, 20))
      if (all[index]?.parts.some(({ type }) => type !== "text") === true) break
    }
  }
}

function goalRecords(): readonly HistoryRecord[] {
  const { outputs } = applyGoal(newGoalState(GOAL.threadId), { type: "command", at: 0, command: { type: "set", objective: OBJECTIVE } }, {})
  return outputs.flatMap((output) => (output.type === "event" ? [{ type: "protocol", event: output.event } as const] : []))
}

describe("compaction in random turns", () => {
  test("keeps every law of a turn, loses nothing, charges once and never loops", SLOW, () => {
    check(
      150,
      fc.property(aGame, ({ driver, window, options, moves }) => {
        const game = new Game(driver, window, options)
        game.play(moves)
        const { machine } = game
        const records = recordsOf(machine.history)

        // Nothing is lost: the transcript has what every user said, and no message ever left it.
        expect(game.said.filter((id) => !machine.messages.some((message) => message.id === id))).toEqual([])
        const spoken = machine.history.flatMap((record) => (record.type === "conversation" ? [record.message.id] : []))
        expect(spoken.filter((id) => !machine.messages.some((message) => message.id === id))).toEqual([])
        // Nothing of a summary is in the transcript.
        expect(JSON.stringify(machine.messages)).not.toContain("Summary ")

        // Each record is what its schema says, gains what it must, and something was said between two of them.
        for (const record of machine.history) {
          if (record.type !== "protocol") continue
          const { type } = record.event as { readonly type: string }
          if (type === "compaction") CompactionRecord.parse(record.event)
          if (type === "compaction_failed") CompactionFailed.parse(record.event)
          if (type === "compaction_needed") CompactionNeeded.parse(record.event)
        }
        for (const [index, { reason, tokensBefore, tokensAfter, base }] of records.entries()) {
          expect(tokensAfter).toBeLessThanOrEqual(reason === "overflow" ? tokensBefore - 1 : tokensBefore * (1 - (options.minGain ?? 0)))
          const before = records[index - 1]
          if (before !== undefined && reason !== "overflow") expect(base.count).toBeGreaterThan(before.base.count)
        }
        const overflows = records.filter(({ reason }) => reason === "overflow").length
        const inputs = machine.messages.filter(({ role, parts }) => role === "user" && parts.every(({ type }) => type === "text")).length
        expect(overflows).toBeLessThanOrEqual(inputs)

        // Charged once, to the turn and to the goal.
        expect(tokensOf(machine.usage)).toBe(game.spent)
        if (driver.includes("goal")) {
          const { goal, turn } = readGoal(machine.turn.record.events, GOAL.threadId).state
          const reported = turn === null ? 0 : tokensOf(turn.reported)
          // A goal inside hears of an answer to a compaction with the next call.
          expect(reported).toBeLessThanOrEqual(game.spent)
          if (machine.outstanding?.type === "llm_call") expect(reported).toBe(game.spent)
          expect(goal?.tokensUsed ?? 0).toBeLessThanOrEqual(game.spent)
        }
        expectTurn(game.config, game.start, game.inputs, { mostCuts: 12 })
      }),
    )
  })

  test("a turn that only ever works compacts as often as it must, and every request fits", SLOW, () => {
    for (const name of Object.keys(DRIVERS)) {
      const game = new Game(name, 2_000, { keepTailTokens: 0 })
      const move: Move = {
        model: { type: "calls", sizes: [200] },
        summary: { type: "summary", size: 20 },
        hold: false,
        delivery: "nothing",
        redirect: undefined,
      }
      game.play(Array.from({ length: 200 }, () => move))
      expect(game.machine.done).toBe(false)
      const count = recordsOf(game.machine.history).length
      // 1,600 tokens are the threshold; each iteration adds about 215, and about 300 stay.
      expect({ name, enough: count > 5, few: count < 40 }).toEqual({ name, enough: true, few: true })
      expect(failuresOf(game.machine.history)).toEqual([])
    }
  })
})
