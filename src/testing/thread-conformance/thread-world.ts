import type { EffectContext } from "../../hosts/host.ts"
import type { LlmMessage, LlmRequest } from "../../wire/llm.ts"
import type { Message } from "../../wire/message.ts"
import type { InputTime } from "../../wire/thread.ts"
import { shown } from "../difference.ts"
import type { ConformanceFault } from "../host-conformance/conformance-error.ts"
import { inputsIn, type ThreadWork } from "./scripted-thread.ts"
import type { TestedStatus, ThreadPromises } from "./tested-thread.ts"
import type { ThreadLaw } from "./thread-laws.ts"

/** What the world knows about an input. */
interface KnownInput {
  readonly key: string
  readonly text: string
  readonly when: InputTime
  /** Whether it redirects the running turn. */
  readonly redirects: boolean
  /** The id of its receipt. */
  id?: string
  /** When it was accepted: after how many model calls, and whether an executor ran, so that the next checkpoint was still to come. */
  accepted?: { readonly calls: number; readonly inWork: boolean }
  /** Taken back, or perhaps: an interrupt may have taken it back in a process that was killed. */
  withdrawn?: "yes" | "perhaps"
  /** The model call that showed it first. */
  call?: number
}

/** One request to the model that differs from the one before. */
interface ModelCall {
  readonly effectId: number
  readonly messages: readonly string[]
}

/** What a result says about a call that may have run. */
const MAY_HAVE = "may have taken effect"

/** The world that outlives the processes of one thread: its clock, what was said, what the model read, and the laws that were broken. */
export class ThreadWorld {
  readonly faults: ConformanceFault[] = []
  /** Where the thread was disturbed, for the faults. */
  place: string
  now = 1_000_000
  /** A goal must not continue before this time. */
  notBefore = 0
  readonly #promises: ThreadPromises
  readonly #inputs = new Map<string, KnownInput>()
  readonly #calls: ModelCall[] = []
  readonly #keys = new Map<string, string>()
  readonly #taken = new Map<string, number>()
  /** What was decided about held calls, by their ids. */
  readonly #decided = new Map<string, "approve" | "reject">()
  #messages: readonly string[] = []
  /** The turn was interrupted after so many model calls. */
  #interruptedAt: number | undefined
  #rival: { readonly of: object; readonly calls: number; hasBegun: boolean } | undefined

  constructor(place: string, promises: ThreadPromises) {
    this.place = place
    this.#promises = promises
  }

  fault(law: ThreadLaw, message: string): void {
    this.faults.push({ law, place: this.place, message })
  }

  /** How many different requests the model was asked. */
  get calls(): number {
    return this.#calls.length
  }

  idOf(key: string): string | undefined {
    return this.#inputs.get(key)?.id
  }

  /** A user is about to say an input, or to say it again. */
  saying(key: string, text: string, when: InputTime, redirects: boolean): void {
    if (!this.#inputs.has(key)) this.#inputs.set(key, { key, text, when, redirects })
  }

  /** An input has its receipt. */
  accepted(key: string, id: string, inWork: boolean): void {
    const input = this.#inputs.get(key)
    if (input === undefined) return
    if (typeof id !== "string" || id === "") this.fault("again", `The receipt of input ${key} is ${shown(id)}. Expected: the id of the input.`)
    else if (input.id !== undefined && input.id !== id)
      this.fault("again", `Input ${key} was sent again, and has the id ${shown(id)}. Expected: ${shown(input.id)}.`)
    for (const other of this.#inputs.values())
      if (other !== input && other.id === id) this.fault("again", `Inputs ${other.key} and ${key} have one id, ${shown(id)}.`)
    input.id ??= id
    input.accepted ??= { calls: this.calls, inWork }
  }

  /** An input was retracted, or returned by an interrupt. */
  withdrawn(id: string, how: string): void {
    const input = [...this.#inputs.values()].find((one) => one.id === id)
    if (input === undefined) this.fault("delivered", `${how} names the input ${shown(id)}, which was not said.`)
    else input.withdrawn = "yes"
  }

  /** The turn was interrupted. `perhaps`: the process was killed before it was known. */
  interrupted(perhaps: boolean): void {
    if (!perhaps) this.#interruptedAt = this.calls
    else for (const input of this.#inputs.values()) if (input.call === undefined) input.withdrawn ??= "perhaps"
  }

  /** The process was killed. The next one may continue the turn that was interrupted. */
  killed(place: string): void {
    this.place += place
    this.#interruptedAt = undefined
  }

  /** A person is about to decide about a held call. Only the first decision counts. */
  decides(callId: string, decision: "approve" | "reject"): void {
    if (!this.#decided.has(callId)) this.#decided.set(callId, decision)
  }

  /** A decision that does not count: it expired, or its turn has ended. */
  notDecided(callId: string): void {
    this.#decided.delete(callId)
  }

  /** Another process starts to serve the thread while this one still does. */
  rival(of: object): void {
    this.#rival = { of, calls: this.calls, hasBegun: false }
  }

  /** The model is asked. Returns whether the request is a new one. */
  ask(process: object, { messages }: LlmRequest, { effectId, idempotencyKey }: EffectContext): boolean {
    // The system prompt may change, and marks for a cache do.
    const texts = messages.filter(({ role }, index) => index > 0 || role !== "system").map(textOf)
    const last = this.#calls.at(-1)
    const isRepeated = last !== undefined && last.messages.length === texts.length && last.messages.every((text, index) => text === texts[index])
    if (!isRepeated) {
      const lost = last?.messages.findIndex((text, index) => text !== texts[index]) ?? -1
      if (lost >= 0)
        this.fault(
          "history",
          `Model call ${this.calls + 1} reads ${shown(texts[lost], 200)} at message ${lost}. Call ${this.calls} read ${shown(last?.messages[lost], 200)}.`,
        )
      this.#calls.push({ effectId, messages: texts })
      this.#checkNewCall(messages, last, effectId)
    }
    this.#checkKey(`model call ${this.calls}`, idempotencyKey)
    if (this.#rival?.of !== process) {
      if (this.#rival !== undefined) this.#rival.hasBegun = true
    } else if (this.#rival.hasBegun && this.calls > this.#rival.calls && !isRepeated)
      this.fault("exclusive", `A second process continued the thread, and then the first one made model call ${this.calls}.`)
    return !isRepeated
  }

  #checkNewCall(messages: readonly LlmMessage[], last: ModelCall | undefined, effectId: number): void {
    const number = this.calls
    const isNewTurn = last === undefined || effectId <= last.effectId
    const known = new Set([...this.#inputs.values()].filter(({ call }) => call !== undefined).map(({ key }) => key))
    const fresh: { readonly input: KnownInput; readonly at: number }[] = []
    for (const [at, message] of messages.entries())
      for (const { key } of inputsIn(message)) {
        const input = this.#inputs.get(key)
        if (input === undefined) this.fault("history", `Model call ${number} reads an input ${key}, which was not said.`)
        else if (!known.has(key)) {
          input.call ??= number
          fresh.push({ input, at })
        }
      }
    if (fresh.length > 0) this.notBefore = 0
    else if (isNewTurn && this.now < this.notBefore) this.fault("early", `The goal continued at ${this.now}. Expected: not before ${this.notBefore}.`)
    if (this.#interruptedAt !== undefined) {
      if (!isNewTurn) this.fault("stops", `Model call ${number} belongs to the turn that was interrupted during call ${this.#interruptedAt}.`)
      this.#interruptedAt = undefined
    }
    this.#checkTimes(fresh, messages, isNewTurn)
    if (this.#promises.steer === false) return
    for (const input of this.#inputs.values()) {
      const { accepted, when, redirects, key } = input
      if (accepted === undefined || when !== "now" || input.withdrawn !== undefined) continue
      const due = accepted.calls + (accepted.inWork ? 1 : 2)
      if (number >= due && input.call === undefined)
        this.fault("when", `Input ${key} was accepted before model call ${accepted.calls + 1}, and call ${number} does not read it.`)
      if (redirects && accepted.inWork && input.call === number && isNewTurn)
        this.fault("stops", `Input ${key} redirected a running turn. Expected: the turn continues with it, not another one.`)
    }
  }

  #checkTimes(fresh: readonly { readonly input: KnownInput; readonly at: number }[], messages: readonly LlmMessage[], isNewTurn: boolean): void {
    const keys = fresh.map(({ input }) => input.key).join(", ")
    for (const { input, at } of fresh) {
      if (input.when === "next_turn" && !(isNewTurn && fresh.length === 1))
        this.fault("when", `Input ${input.key} waited for the next turn. Expected: a turn begins with it alone, not with ${keys}.`)
      if (input.when !== "turn_end") continue
      const before = messages[at - 1]
      const isEnd = before?.role === "assistant" && before.blocks.every(({ type }) => type !== "tool_call")
      if (!(isEnd || isNewTurn) || fresh.length > 1)
        this.fault("when", `Input ${input.key} waited for the end of the turn. Expected: it is delivered there, and alone, not with ${keys}.`)
    }
  }

  /** A tool call begins. */
  begin({ name, kind }: ThreadWork, { idempotencyKey }: EffectContext): void {
    const callId = name.replace(/^sign of /, "sign-")
    if (callId !== name && this.#decided.get(callId) !== "approve")
      this.fault("consent", `Call ${callId} began, although ${this.#decided.has(callId) ? "it was rejected" : "it has no decision"}.`)
    this.#checkKey(`${name} (${kind})`, idempotencyKey)
  }

  /** A tool call takes effect. */
  take({ name, kind }: ThreadWork): void {
    const times = (this.#taken.get(name) ?? 0) + 1
    this.#taken.set(name, times)
    if (kind === "once" && times > 1) this.fault("once", `${name} must not run twice. It took effect ${times} times.`)
  }

  /** What a host shows while no turn is open. */
  shows({ messages }: TestedStatus): void {
    const texts = messages.map((message) => JSON.stringify(message))
    const changed = this.#messages.findIndex((text, index) => text !== texts[index])
    if (changed >= 0)
      this.fault("history", `Message ${changed} of the thread is ${shown(texts[changed], 200)}. It was ${shown(this.#messages[changed], 200)}.`)
    this.#messages = texts
  }

  /** The thread rests for the last time. */
  end({ messages, queue, held }: TestedStatus): void {
    if (queue.length > 0) this.fault("rests", `The thread rests, and these inputs still wait: ${queue.join(", ")}.`)
    if (held.length > 0) this.fault("rests", `The thread rests, and these calls still wait: ${held.map(({ callId }) => callId).join(", ")}.`)
    const last = messages.at(-1)
    if (this.#interruptedAt === undefined && last?.role !== "assistant")
      this.fault("rests", `The last message is not an answer, but ${shown(last, 200)}`)
    const counted = this.#checkDelivery(messages)
    this.#checkOrder(counted)
    this.#checkCalls(messages)
  }

  #checkDelivery(messages: readonly Message[]): readonly { readonly input: KnownInput; readonly at: number }[] {
    const delivered: { readonly input: KnownInput; readonly at: number }[] = []
    for (const input of this.#inputs.values()) {
      const { key, text, withdrawn } = input
      const places = messages.flatMap(({ role, parts }, at) =>
        role === "user" && parts.some((part) => part.type === "text" && part.text === text) ? [at] : [],
      )
      const expected = withdrawn === "yes" ? 0 : 1
      const isRight = places.length === expected || (withdrawn === "perhaps" && places.length === 0)
      if (!isRight)
        this.fault(
          "delivered",
          `Input ${key}${withdrawn === "yes" ? " was taken back, and" : ""} is in the thread ${places.length} times. Expected: ${expected}.`,
        )
      for (const at of places) delivered.push({ input, at })
    }
    return delivered
  }

  #checkOrder(delivered: readonly { readonly input: KnownInput; readonly at: number }[]): void {
    for (const when of ["now", "turn_end", "next_turn"] as const) {
      const keys = delivered.filter(({ input }) => input.when === when)
      // The inputs are known in the order in which they were said.
      const inOrder = [...keys].sort((a, b) => a.at - b.at)
      if (inOrder.some(({ at }, index) => at !== keys[index]?.at))
        this.fault(
          "order",
          `The inputs ${keys.map(({ input }) => input.key).join(", ")} were said in this order, and delivered in the order ${inOrder.map(({ input }) => input.key).join(", ")}.`,
        )
    }
  }

  #checkCalls(messages: readonly Message[]): void {
    const results = new Map<string, string[]>()
    const calls: string[] = []
    for (const { parts } of messages)
      for (const part of parts) {
        if (part.type === "tool_call") calls.push(part.callId)
        if (part.type === "tool_result") results.set(part.callId, [...(results.get(part.callId) ?? []), part.text])
      }
    for (const callId of calls) {
      const texts = results.get(callId) ?? []
      if (texts.length !== 1) this.fault("history", `The thread has ${texts.length} results for call ${callId}. Expected: 1.`)
      if (
        this.#decided.get(callId) === "approve" &&
        !this.#taken.has(callId.replace("sign-", "sign of ")) &&
        !texts.some((text) => text.includes(MAY_HAVE))
      )
        this.fault("decided", `Call ${callId} was approved, and did not run. Its result is ${shown(texts[0], 200)}.`)
    }
  }

  #checkKey(work: string, key: string | undefined): void {
    const known = this.#keys.get(work)
    if (key === undefined) this.fault("keys", `The ${work} has no idempotency key.`)
    else if (known === undefined) {
      for (const [other, taken] of this.#keys) if (taken === key) this.fault("keys", `The ${work} has the key ${shown(key)} of the ${other}.`)
      this.#keys.set(work, key)
    } else if (known !== key) this.fault("keys", `The ${work} was repeated under the key ${shown(key)}. Expected: ${shown(known)}.`)
  }
}

function textOf({ role, blocks }: LlmMessage): string {
  return JSON.stringify([role, blocks.map((block) => ("cacheBreakpoint" in block ? { ...block, cacheBreakpoint: undefined } : block))])
}
