import { userInfo } from "node:os"
import type { EffectContext } from "../../hosts/host.ts"
import type { Decision, HeldCall } from "../../wire/approval.ts"
import type { TurnEvent } from "../../wire/event.ts"
import { oneLine } from "../terminal/format.ts"
import type { Io } from "../terminal/io.ts"
import type { Answer } from "./prompt.ts"
import { decisionWords } from "./words.ts"

/** Holds back output while a question is open, so that nothing is written into it. */
export class OutputGate {
  readonly #waiting: (() => void)[] = []
  /** How many questions are open. */
  #closed = 0

  /** Runs a call now, or when the gate opens. */
  pass(call: () => void): void {
    if (this.#closed === 0) call()
    else this.#waiting.push(call)
  }

  close(): void {
    this.#closed += 1
  }

  /** Opens the gate, once it was opened as often as it was closed. */
  open(): void {
    this.#closed = Math.max(0, this.#closed - 1)
    if (this.#closed > 0) return
    for (const call of this.#waiting.splice(0)) call()
  }
}

/** An object whose methods wait while the gate is closed. They must return nothing. */
export function gated<Target extends object>(target: Target, gate: OutputGate): Target {
  return new Proxy(target, {
    get: (_target, name) => {
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === "function" ? (...args: readonly unknown[]) => gate.pass(() => Reflect.apply(member, target, args)) : member
    },
  })
}

/** The part of a prompt that the asker uses. */
export interface Prompt {
  ask(call: HeldCall, question: { readonly number: number; readonly total: number; readonly signal: AbortSignal }): Promise<Answer>
}

export interface AskerOptions {
  /** Absent: no person can be asked here. */
  readonly prompt?: Prompt | undefined
  readonly gate: OutputGate
  /** Called before a question is shown. */
  readonly onAsking?: (call: HeldCall) => void
  /** Resolves when another question is no longer open. `undefined`: none is. */
  readonly untilFree?: () => Promise<void> | undefined
  readonly now?: () => number
}

/**
 * Decides held calls of a run: expired ones as expired, and others as a person in the terminal answers. Without a terminal the rest stays
 * undecided, so that the run suspends.
 */
export class Asker {
  readonly #options: AskerOptions
  /** How many calls of an effect were held at first. */
  readonly #totals = new Map<number, number>()
  #isSuspended = false
  /** The open question, and how to close it. */
  #open: { readonly requestId: string; readonly closed: AbortController } | undefined
  /** Decisions that were made elsewhere while this process asked. */
  readonly #elsewhere = new Set<string>()

  constructor(options: AskerOptions) {
    this.#options = options
  }

  /** `Host.decide`. Gives one decision at a time, so that an approved call begins at once. */
  readonly decide = async (
    held: readonly HeldCall[],
    { effectId, signal }: Pick<EffectContext, "effectId" | "signal">,
  ): Promise<readonly Decision[]> => {
    const { prompt, gate, onAsking, untilFree, now = Date.now } = this.#options
    const expired = held.filter(({ ask }) => ask.expiresAt !== undefined && ask.expiresAt <= now())
    if (expired.length > 0) return expired.map(({ requestId, digest }) => ({ requestId, digest, decision: "expired" }))
    if (prompt === undefined || this.#isSuspended) return []
    const total = Math.max(held.length, this.#totals.get(effectId) ?? 0)
    this.#totals.set(effectId, total)
    for (const [index, call] of held.entries()) {
      const isBusy = untilFree?.()
      if (isBusy !== undefined) await isBusy
      if (signal.aborted || this.#isSuspended) return []
      if (this.#elsewhere.has(call.requestId)) continue
      const closed = new AbortController()
      const close = (): void => closed.abort("The turn ended.")
      signal.addEventListener("abort", close)
      this.#open = { requestId: call.requestId, closed }
      onAsking?.(call)
      gate.close()
      try {
        const answer = await prompt.ask(call, { number: total - held.length + index + 1, total, signal: closed.signal })
        if (answer.type === "decision") return [answer.decision]
        if (answer.type === "suspend") {
          this.#isSuspended = true
          return []
        }
      } finally {
        this.#open = undefined
        signal.removeEventListener("abort", close)
        gate.open()
      }
    }
    return []
  }

  /** Whether a question is open. */
  get isAsking(): boolean {
    return this.#open !== undefined
  }

  /** Learns of decisions that were made elsewhere. The question about a decided call is closed. */
  onEvent(event: TurnEvent): void {
    if (event.type === "approval_requested") {
      // A later turn may have a call with the same request.
      const { requestId } = event.held
      this.#elsewhere.delete(requestId)
      this.#totals.delete(Number(requestId.slice(0, requestId.indexOf(":"))))
    }
    if (event.type !== "approval_decided") return
    this.#elsewhere.add(event.requestId)
    if (this.#open?.requestId !== event.requestId) return
    const who = event.by === undefined ? "elsewhere" : `by ${oneLine(event.by)}`
    this.#open.closed.abort(`Decided ${who}: ${decisionWords(event.decision)}.`)
  }

  /** Closes an open question: the process stops. */
  close(why: string): void {
    this.#isSuspended = true
    this.#open?.closed.abort(why)
  }
}

/** The login name of the user; `undefined` if the system does not say. */
export function loginName({ env }: Pick<Io, "env">): string | undefined {
  try {
    return userInfo().username
  } catch {
    return env["USER"] ?? env["LOGNAME"]
  }
}
