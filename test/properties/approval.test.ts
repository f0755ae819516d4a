import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import type { ApprovalPolicy, PolicyAnswer } from "../../src/drivers/approval/policy.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import type { ProtocolDriver } from "../../src/machine/driver.ts"
import type { Effect } from "../../src/schemas/effect.ts"
import type { Json } from "../../src/schemas/json.ts"
import type { OutputPart } from "../../src/schemas/llm.ts"
import type { Response } from "../../src/schemas/response.ts"
import { expectTurn } from "../../src/testing/expect-turn.ts"
import type { TurnInput } from "../../src/testing/turn-input.ts"
import { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { Decision } from "../../src/wire/approval.ts"
import { LOOK, PAY, ran } from "../drivers/approval/support.ts"
import { answer, configOf, delivers, moved, plain, pollAll, says, userMessage } from "../machine/support.ts"
import { check, SLOW } from "./check.ts"

/** What the policy says about a call; the call says it itself, in its arguments. */
type Wish = "run" | "deny" | "hold" | "hold_once" | "hold_edit"
const WISHES: readonly Wish[] = ["run", "deny", "hold", "hold", "hold", "hold_once", "hold_edit"]

const aCall = fc.record({ tool: fc.constantFrom("pay", "look"), wish: fc.constantFrom(...WISHES), broken: fc.integer({ min: 0, max: 9 }) })
type Call = typeof aCall extends fc.Arbitrary<infer Value> ? Value : never

/** One thing that people, tools or a crash do. */
const aMove = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant("decide" as const),
      picks: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
      verdict: fc.nat(),
      scope: fc.nat(),
      edit: fc.constantFrom<Wish>("run", "deny", "hold"),
      at: fc.nat({ max: 40 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("result" as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("cut" as const) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("hostile" as const), pick: fc.nat(), kind: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("repeat" as const) }) },
)
type Move = typeof aMove extends fc.Arbitrary<infer Value> ? Value : never

const TTL = 25
const START = { messages: [userMessage("hello")] }

/** Answers by the arguments, and counts how often it is asked about which. */
function policyOf(asked: string[]): ApprovalPolicy {
  return ({ callId, args }, { broken, edited }): PolicyAnswer => {
    asked.push(`${callId} ${broken === true ? "broken" : edited === true ? "edited" : "new"}`)
    const { wish } = broken === true ? { wish: "hold" as const } : (args as { readonly wish: Wish })
    switch (wish) {
      case "run":
        return "run"
      case "deny":
        return { deny: "No." }
      case "hold_once":
        return { hold: { scopes: ["call"] } }
      case "hold_edit":
        return { hold: { allow: ["edit", "reject"] } }
      default:
        return { hold: {} }
    }
  }
}

const DRIVERS: readonly (readonly [string, (policy: ApprovalPolicy) => ProtocolDriver])[] = [
  ["chat", (policy) => approvalDriver(chatDriver(), { policy, ttlMs: TTL })],
  ["goal inside", (policy) => approvalDriver(goalDriver(chatDriver(), GOAL), { policy, ttlMs: TTL })],
  ["goal outside", (policy) => goalDriver(approvalDriver(chatDriver(), { policy, ttlMs: TTL }), GOAL)],
]
const GOAL = { threadId: "t1", turnId: "turn-1", startedAt: 0 }

interface Modelled {
  readonly tool: string
  readonly wish: Wish
  readonly broken: boolean
  state: "may_run" | "held" | "answered"
  args: Json
  /** The failure that the model reads, if the call does not run. */
  failure?: string
}

/** Who may run, told as simply as it can be: one call after another, by name. */
class Model {
  readonly calls = new Map<string, Modelled>()
  readonly #grants = new Map<string, { readonly effect: "allow" | "deny"; readonly scope: "turn" | "thread" }>()
  at = 0
  expiresAt = 0

  batch(calls: readonly (readonly [callId: string, call: Call])[], at: number): void {
    this.calls.clear()
    this.at = at
    this.expiresAt = at + TTL
    for (const [callId, { tool, wish, broken }] of calls) {
      const isBroken = broken === 0
      const args: Json = isBroken ? "{" : { wish, callId }
      const grant = this.#grants.get(tool)
      const isDenied = wish === "deny" && !isBroken
      const [state, failure]: [Modelled["state"], string?] = isDenied
        ? ["answered", "denied_by_policy"]
        : grant?.effect === "deny"
          ? ["answered", "denied_by_grant"]
          : !isBroken && (wish === "run" || (grant !== undefined && wish !== "hold_once"))
            ? ["may_run"]
            : ["held"]
      this.calls.set(callId, { tool, wish, broken: isBroken, state, args, ...(failure !== undefined && { failure }) })
    }
  }

  allows(callId: string): readonly string[] {
    const { wish, broken } = this.calls.get(callId) as Modelled
    return broken || wish === "hold_edit" ? ["edit", "reject"] : ["approve", "edit", "reject"]
  }

  scopes(callId: string): readonly string[] {
    const { wish, broken } = this.calls.get(callId) as Modelled
    return !broken && wish === "hold_once" ? ["call"] : ["call", "turn", "thread"]
  }

  decide(decisions: readonly (readonly [callId: string, decision: Decision])[], at: number): void {
    this.at = Math.max(this.at, at)
    const made = new Map<string, { readonly effect: "allow" | "deny"; readonly scope: "turn" | "thread" }>()
    for (const [callId, decision] of decisions) {
      const call = this.calls.get(callId) as Modelled
      const isLate = this.at >= this.expiresAt && (decision.decision === "approve" || decision.decision === "edit")
      const kind = isLate ? "expired" : decision.decision
      const scope = "scope" in decision && !isLate ? decision.scope : undefined
      if (kind === "approve") call.state = "may_run"
      else if (decision.decision === "edit" && !isLate) {
        const isDenied = (decision.args as { readonly wish: Wish }).wish === "deny"
        if (isDenied) this.#settle(call, "denied_by_policy")
        else Object.assign(call, { state: "may_run", args: decision.args })
      } else this.#settle(call, kind === "reject" ? "rejected" : kind === "expired" ? "approval_expired" : "cancelled")
      if (scope === "turn" || scope === "thread") made.set(call.tool, { effect: kind === "approve" ? "allow" : "deny", scope })
    }
    for (const [tool, grant] of made) this.#grants.set(tool, grant)
    for (const [callId, call] of this.calls) {
      const grant = call.state === "held" ? made.get(call.tool) : undefined
      if (grant === undefined) continue
      if (grant.effect === "deny") this.#settle(call, "denied_by_grant")
      else if (this.allows(callId).includes("approve") && this.scopes(callId).includes(grant.scope)) call.state = "may_run"
    }
  }

  answer(callId: string): void {
    ;(this.calls.get(callId) as Modelled).state = "answered"
  }

  #settle(call: Modelled, failure: string): void {
    call.state = "answered"
    call.failure = failure
  }

  named(state: Modelled["state"]): readonly string[] {
    return [...this.calls].flatMap(([callId, call]) => (call.state === state ? [callId] : []))
  }
}

/** Plays a turn against the model. */
class Game {
  readonly model = new Model()
  readonly asked: string[] = []
  readonly inputs: TurnInput[] = [{ type: "poll" }]
  readonly config: ReturnType<typeof configOf>
  machine: TurnMachine
  #last: Response | undefined
  #runs = new Map<string, number>()

  constructor(make: (policy: ApprovalPolicy) => ProtocolDriver) {
    this.config = configOf({ driver: make(policyOf(this.asked)), tools: [PAY, LOOK] })
    this.machine = new TurnMachine(this.config, START)
    pollAll(this.machine)
  }

  give(response: Response): readonly Effect[] {
    expect(this.machine.handle(response)).toEqual({ status: "accepted" })
    this.#last = response
    this.inputs.push({ type: "respond", response }, { type: "poll" })
    const effects = pollAll(this.machine)
    for (const effect of effects) if (effect.type === "tool_calls" || effect.type === "tool_calls_released") this.#mayRun(effect.calls)
    return effects
  }

  /** Law 1: what an effect lets run, the model lets run, with these arguments, and once. */
  #mayRun(calls: readonly { readonly callId: string; readonly args: Json }[]): void {
    for (const { callId, args } of calls) {
      const call = this.model.calls.get(callId)
      this.#runs.set(callId, (this.#runs.get(callId) ?? 0) + 1)
      expect({ callId, args: call?.args, runs: this.#runs.get(callId) }).toEqual({ callId, args, runs: 1 })
    }
  }

  begins(round: number, calls: readonly Call[]): void {
    const { outstanding } = this.machine
    if (outstanding?.type !== "llm_call") throw new Error("No model call.")
    const named = calls.map((call, index) => [`r${round}c${index}`, call] as const)
    const parts = named.map(([callId, { tool, wish, broken }]): OutputPart => {
      return { type: "tool_call", callId, toolName: tool, inputJson: broken === 0 ? "{" : JSON.stringify({ wish, callId }) }
    })
    const at = this.model.at + 1
    this.model.batch(named, at)
    const before = this.asked.length
    this.give({ ...answer(outstanding.id, parts, { terminalReason: "tool_use" }), at })
    // Each call is asked about once.
    expect(this.asked.slice(before)).toEqual(named.map(([callId, { broken }]) => `${callId} ${broken === 0 ? "broken" : "new"}`))
    this.compare()
  }

  get isOpen(): boolean {
    return this.machine.outstanding?.type === "tool_calls"
  }

  compare(): void {
    const { outstanding } = this.machine
    const [free, held] = [this.model.named("may_run"), this.model.named("held")]
    if (outstanding?.type !== "tool_calls") {
      expect([free, held]).toEqual([[], []])
      return
    }
    expect(outstanding.calls.map(({ callId, args }) => [callId, args])).toEqual(free.map((callId) => [callId, this.model.calls.get(callId)?.args]))
    expect((outstanding.held ?? []).map(({ callId, ask }) => [callId, ask.allow, ask.scopes, ask.expiresAt])).toEqual(
      held.map((callId) => [callId, this.model.allows(callId), this.model.scopes(callId), this.model.expiresAt]),
    )
    // Law 11: what the policy denied is in no list.
    for (const { callId } of outstanding.held ?? []) expect(this.model.calls.get(callId)?.failure).toBeUndefined()
  }

  move(move: Move): void {
    const { outstanding } = this.machine
    if (outstanding?.type !== "tool_calls") return
    const { id, held = [] } = outstanding
    switch (move.type) {
      case "decide": {
        const picked = [...new Set(move.picks.map((pick) => (held.length === 0 ? -1 : pick % held.length)))].filter((index) => index >= 0)
        if (picked.length === 0) return
        const decisions = picked.map((index, place): readonly [string, Decision] => {
          const { callId, requestId, digest } = held[index] as (typeof held)[number]
          const kinds = [...this.model.allows(callId), "expired", "cancelled"]
          const kind = kinds[(move.verdict + place) % kinds.length]
          const scopes = this.model.scopes(callId)
          const scope = scopes[(move.scope + place) % scopes.length]
          const more = kind === "edit" ? { args: { wish: move.edit, callId } } : kind === "approve" || kind === "reject" ? { scope } : {}
          return [callId, { requestId, digest, decision: kind, ...more } as Decision]
        })
        const at = this.model.at + (move.at % 4 === 0 ? move.at : 0)
        const before = this.asked.length
        this.model.decide(decisions, at)
        this.give({ type: "tool_decisions", id, at, decisions: decisions.map(([, decision]) => decision) })
        // Only edited arguments are asked about, once each.
        expect(this.asked.slice(before).every((asked) => asked.endsWith("edited"))).toBe(true)
        break
      }
      case "result": {
        const free = this.model.named("may_run")
        if (free.length === 0) return
        const callId = free[move.pick % free.length] as string
        const { tool } = this.model.calls.get(callId) as Modelled
        this.model.answer(callId)
        this.give({ type: "tool_results", id, at: this.model.at, results: [ran(callId, tool)] })
        break
      }
      case "cut": {
        const before = this.asked.length
        this.machine = moved(this.machine, this.config)
        pollAll(this.machine)
        // Law 10: a resume never asks the policy again.
        expect(this.asked.length).toBe(before)
        break
      }
      case "hostile":
        this.#refuses(id, move.pick, move.kind)
        break
      case "repeat":
        if (this.#last?.type === "tool_decisions") {
          const before = JSON.stringify(this.machine.checkpoint())
          expect(this.machine.handle(this.#last)).toEqual({ status: "stale" })
          expect(JSON.stringify(this.machine.checkpoint())).toBe(before)
        }
    }
    this.compare()
  }

  /** Law 6: what is not a decision about a held call changes nothing, and says why. */
  #refuses(id: number, pick: number, kind: number): void {
    const { outstanding } = this.machine
    const held = outstanding?.type === "tool_calls" ? (outstanding.held ?? []) : []
    const call = held[pick % Math.max(1, held.length)]
    if (call === undefined) return
    const { requestId, digest, callId } = call
    const good = { requestId, digest, decision: "reject" } as const
    const forbidden = { requestId, digest, decision: "approve" } as const
    const scoped = { ...good, scope: "thread" } as const
    const bad: readonly (readonly [Response, string])[] = [
      [{ type: "tool_decisions", id, decisions: [good, { ...good, requestId: `${requestId}x` }] }, "unknown_request"],
      [{ type: "tool_decisions", id, decisions: [{ ...good, requestId: callId }] }, "unknown_request"],
      [{ type: "tool_decisions", id, decisions: [{ ...good, digest: `${digest}0` }] }, "digest_mismatch"],
      [{ type: "tool_results", id, results: [ran(callId)] }, "call_is_held"],
      [{ type: "tool_pending", id, callId, token: "t" }, "call_is_held"],
      ...(this.model.allows(callId).includes("approve")
        ? []
        : [[{ type: "tool_decisions", id, decisions: [forbidden] }, "decision_not_allowed"] as const]),
      ...(this.model.scopes(callId).includes("thread")
        ? []
        : [[{ type: "tool_decisions", id, decisions: [scoped] }, "decision_not_allowed"] as const]),
      [{ type: "tool_decisions", id, decisions: [good, { ...good, decision: "cancelled" }] }, "call_already_decided"],
    ]
    const [response, code] = bad[kind % bad.length] as (typeof bad)[number]
    const before = JSON.stringify(this.machine.checkpoint())
    expect(() => this.machine.handle(response)).toThrow(expect.objectContaining({ code }))
    expect(JSON.stringify(this.machine.checkpoint())).toBe(before)
  }

  /** Ends what is open: what is held is rejected, and the rest answered. */
  finish(): void {
    for (let index = 0; this.isOpen; index += 1) {
      this.move({ type: "result", pick: index })
      if (this.isOpen && this.model.named("held").length > 0) this.move({ type: "decide", picks: [0], verdict: 1, scope: 0, edit: "run", at: 0 })
    }
    // Law 5: exactly one result a call, and a failure for what did not run.
    const shown = this.machine.messages.flatMap(({ parts }) => parts.flatMap((part) => (part.type === "tool_result" ? [part] : [])))
    for (const [callId, { failure }] of this.model.calls) {
      const own = shown.filter((part) => part.callId === callId)
      expect(own).toHaveLength(1)
      expect(own[0]?.isError === true).toBe(failure !== undefined)
      expect(this.#runs.has(callId)).toBe(failure === undefined)
    }
  }

  passCheckpoint(): void {
    const { outstanding } = this.machine
    if (outstanding?.type === "checkpoint") this.give({ ...delivers(outstanding.id), at: this.model.at })
  }
}

const aRound = fc.array(aCall, { minLength: 1, maxLength: 6 })

describe.each(DRIVERS)("approvals around %s", (_name, make) => {
  test("laws 1, 2, 4 to 7, 10 and 11: who may run is what a simple model says", SLOW, () => {
    check(
      120,
      fc.property(fc.array(fc.tuple(aRound, fc.array(aMove, { maxLength: 25 })), { minLength: 1, maxLength: 3 }), (rounds) => {
        const game = new Game(make)
        for (const [number, [calls, moves]] of rounds.entries()) {
          game.begins(number, calls)
          for (const move of moves) game.move(move)
          game.finish()
          game.passCheckpoint()
        }
      }),
    )
  })

  test("laws 4 and 8, and those of every turn: cuts anywhere change nothing, and an edit changes no earlier request", SLOW, () => {
    check(
      15,
      fc.property(fc.array(fc.tuple(aRound, fc.array(aMove, { maxLength: 10 })), { minLength: 1, maxLength: 2 }), fc.boolean(), (rounds, isLeft) => {
        const game = new Game(make)
        for (const [number, [calls, moves]] of rounds.entries()) {
          game.begins(number, calls)
          for (const move of moves) game.move(move)
          if (isLeft && number === rounds.length - 1) break
          game.finish()
          game.passCheckpoint()
        }
        expectTurn(game.config, START, [...game.inputs, { type: "cancel" }, { type: "poll" }], { mostCuts: 40, prefix: true })
      }),
    )
  })

  test("law 3: any order and split of decisions and results gives the same transcript and outcome", SLOW, () => {
    const verdicts = fc.array(fc.constantFrom<Decision["decision"]>("approve", "edit", "reject", "expired", "cancelled"), {
      minLength: 6,
      maxLength: 6,
    })
    check(
      60,
      fc.property(aRound, verdicts, fc.infiniteStream(fc.nat()), fc.infiniteStream(fc.nat()), (calls, wished, first, second) => {
        const play = (order: fc.Stream<number>): string => {
          const game = new Game(make)
          game.begins(0, calls)
          const left = new Map(
            [...game.model.calls].map(([callId], index) => {
              const kind = wished[index] as Decision["decision"]
              return [
                callId,
                (kind === "approve" || kind === "edit" || kind === "reject") && !game.model.allows(callId).includes(kind) ? "reject" : kind,
              ]
            }),
          )
          while (game.isOpen) {
            const { id, held = [] } = game.machine.outstanding as Extract<Effect, { type: "tool_calls" }>
            const pick = order.next().value
            const free = game.model.named("may_run")
            const isCut = order.next().value % 5 === 0
            if (isCut) game.move({ type: "cut" })
            const index = pick % (free.length + held.length)
            const call = held[index - free.length]
            if (call === undefined) {
              const callId = free[index] as string
              game.model.answer(callId)
              game.give({ type: "tool_results", id, results: [ran(callId, game.model.calls.get(callId)?.tool)] })
            } else {
              // One decision, or all that are left from it on.
              const together = order.next().value % 2 === 0 ? [call] : held.slice(index - free.length)
              const decisions = together.map(({ callId, requestId, digest }): readonly [string, Decision] => {
                const kind = left.get(callId)
                return [callId, { requestId, digest, decision: kind, ...(kind === "edit" && { args: { wish: "run", callId } }) } as Decision]
              })
              game.model.decide(decisions, 0)
              game.give({ type: "tool_decisions", id, decisions: decisions.map(([, decision]) => decision) })
            }
            game.compare()
          }
          game.passCheckpoint()
          const { outstanding } = game.machine
          if (outstanding?.type === "llm_call") game.give(says(outstanding.id, "done"))
          game.passCheckpoint()
          return JSON.stringify([game.machine.messages.map((message) => plain(message)), game.machine.outcome])
        }
        expect(play(second)).toBe(play(first))
      }),
    )
  })
})
