import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { approvalDriver } from "../../src/drivers/approval/driver.ts"
import { chatDriver } from "../../src/drivers/chat.ts"
import { stopRecord } from "../../src/drivers/goal/deliveries.ts"
import { goalDriver } from "../../src/drivers/goal/driver.ts"
import { changeGoal, endGoalTurn } from "../../src/drivers/goal/thread.ts"
import type { TurnConfig } from "../../src/machine/config.ts"
import type { Response } from "../../src/schemas/response.ts"
import type { TurnMachine } from "../../src/validated-turn-machine.ts"
import { begun, call, decision, LOOK, PAY, ran } from "../drivers/approval/support.ts"
import { answer, configOf, delivers, moved, pollAll, respond, results } from "../machine/support.ts"
import { check, SLOW } from "./check.ts"

const GOAL = { threadId: "t1", turnId: "turn-1", startedAt: 0 }

/** One call of a batch: whether it is held, how it is decided, and whether its work continues outside for a while. */
const aCall = fc.record({ held: fc.boolean(), approved: fc.boolean(), outside: fc.boolean() })
const aRound = fc.array(aCall, { minLength: 1, maxLength: 4 })
/** What happens next: after so many milliseconds, to the open call with this number; a cut before it, with so much downtime. */
const aStep = fc.record({ ms: fc.integer({ min: 0, max: 4_000 }), pick: fc.nat(), cut: fc.boolean(), down: fc.nat({ max: 50_000 }) })

/** Plays a turn, and counts by itself what its goal may be charged. */
class Timed {
  machine: TurnMachine
  readonly #config: TurnConfig
  at = 0
  /** Milliseconds in which anything but people worked. */
  active = 0
  /** Those of them since the last response, which downtime takes along: when the process died is not known. */
  #sinceResponse = 0
  #free = new Set<string>()
  #undecided = new Map<string, boolean>()
  #outside = new Set<string>()
  #inBatch = false

  constructor(config: TurnConfig) {
    this.#config = config
    const { records } = changeGoal({ threadId: "t1", history: [] }, { type: "command", at: 0, command: { type: "set", objective: "ship" } })
    this.machine = begun(config, { events: records })
  }

  get #isHeld(): boolean {
    return this.#inBatch && this.#free.size === 0
  }

  /** Lets time pass, and perhaps the process die at its beginning. */
  pass({ ms, cut, down }: { readonly ms: number; readonly cut: boolean; readonly down: number }): void {
    if (cut) {
      this.machine = moved(this.machine, this.#config)
      pollAll(this.machine)
      this.at += down
      const stop = stopRecord(this.machine.history, "t1", this.at, this.machine.turn.position)
      if (stop !== undefined) this.machine.apply([{ type: "append_events", events: [stop] }])
      pollAll(this.machine)
      if (stop !== undefined) this.active -= this.#sinceResponse
      if (stop !== undefined) this.#sinceResponse = 0
      else if (!this.#isHeld) this.#work(down)
    }
    this.at += ms
    if (!this.#isHeld) this.#work(ms)
  }

  #work(ms: number): void {
    this.active += ms
    this.#sinceResponse += ms
  }

  #respond(response: Response): void {
    respond(this.machine, { ...response, at: this.at })
    this.#sinceResponse = 0
  }

  model(round: readonly { readonly held: boolean; readonly approved: boolean; readonly outside: boolean }[]): void {
    const { outstanding } = this.machine
    if (outstanding?.type !== "llm_call") throw new Error("No model call.")
    const parts = round.map(({ held }, index) => call(`c${index}`, held ? "pay" : "look"))
    this.#respond(answer(outstanding.id, parts, { terminalReason: "tool_use" }))
    for (const [index, { held, approved }] of round.entries()) {
      if (held) this.#undecided.set(`c${index}`, approved)
      else this.#free.add(`c${index}`)
    }
    this.#inBatch = true
  }

  /** Answers or decides one of the open calls. Returns whether the batch is complete. */
  step(pick: number, round: readonly { readonly outside: boolean }[]): boolean {
    const open = [...this.#undecided.keys(), ...this.#free, ...this.#outside]
    const callId = open[pick % open.length] as string
    const id = this.machine.outstanding && "id" in this.machine.outstanding ? this.machine.outstanding.id : 0
    const isLast = open.length === 1
    const approved = this.#undecided.get(callId)
    if (approved !== undefined) {
      const verdict = approved ? ({ decision: "approve" } as const) : ({ decision: "reject" } as const)
      this.#undecided.delete(callId)
      const decisions = [decision(this.machine, callId, verdict)]
      this.#respond({ type: "tool_decisions", id, decisions })
      if (approved) this.#free.add(callId)
    } else if (this.#free.has(callId) && round[Number(callId.slice(1))]?.outside === true) {
      this.#respond({ type: "tool_pending", id, callId, token: callId })
      this.#free.delete(callId)
      this.#outside.add(callId)
      return false
    } else {
      this.#respond(results(id, ran(callId, "pay")))
      this.#free.delete(callId)
      this.#outside.delete(callId)
    }
    if (isLast && approved !== true) this.#inBatch = false
    return !this.#inBatch
  }

  checkpoint(): void {
    const { outstanding } = this.machine
    if (outstanding?.type !== "checkpoint") throw new Error("No checkpoint.")
    this.#respond(delivers(outstanding.id))
  }

  /** Ends the turn where it is, and returns the seconds that its goal was charged. */
  end(): number {
    this.machine.cancel()
    pollAll(this.machine)
    const { history, usage, outcome } = this.machine
    if (outcome === undefined) throw new Error("The turn has not ended.")
    const waits = this.machine.turn.position
    const { state } = endGoalTurn({ threadId: "t1", history }, { turnId: "turn-1", outcome, usage, waits }, this.at)
    return state.goal?.secondsUsed ?? -1
  }
}

const POLICY = ({ toolName }: { readonly toolName: string }) => (toolName === "pay" ? ({ hold: {} } as const) : "run")

describe("law 9: a goal is charged for the time in which anything but people worked", () => {
  test.each([
    ["approval around goal", approvalDriver(goalDriver(chatDriver(), GOAL), { policy: POLICY })],
    ["goal around approval", goalDriver(approvalDriver(chatDriver(), { policy: POLICY }), GOAL)],
  ])("%s", SLOW, (_name, driver) => {
    const config = configOf({ driver, tools: [PAY, LOOK] })
    check(
      150,
      fc.property(fc.array(aRound, { maxLength: 4 }), fc.infiniteStream(aStep), fc.nat({ max: 60 }), (rounds, steps, most) => {
        const timed = new Timed(config)
        let left = most
        const pass = (): number => {
          const step = steps.next().value
          timed.pass(step)
          left -= 1
          return step.pick
        }
        for (const round of rounds) {
          if (left <= 0) break
          pass()
          timed.model(round)
          let isComplete = false
          while (!isComplete && left > 0) isComplete = timed.step(pass(), round)
          if (!isComplete) break
          pass()
          timed.checkpoint()
        }
        pass()
        expect(timed.end()).toBe(Math.floor(timed.active / 1_000))
      }),
    )
  })
})
