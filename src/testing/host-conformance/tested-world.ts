import type { EffectContext } from "../../hosts/host.ts"
import type { HeldCall } from "../../wire/approval.ts"
import type { Done, Progress } from "../../wire/effect.ts"
import type { Message } from "../../wire/message.ts"
import { describeDifference, firstDifference, shown } from "../difference.ts"
import type { ConformanceFault } from "./conformance-error.ts"
import type { ConformanceLaw } from "./conformance-laws.ts"
import { type CallPlace, type ScriptedCall, type ScriptedWork, START, type TurnScript } from "./scripted-turn.ts"
import type { TestedEnd, TestedSuspension } from "./tested-host.ts"

/** What the world knows about a process. */
export interface Reporter {
  readonly number: number
  /** The names of the work that the process performed. */
  readonly asked: Set<string>
  /** The place of the next record that it reports. `undefined`: it has reported none. */
  nextRecord: number | undefined
}

/** What a result must say about a `once` call that may have run. */
const MAY_HAVE = "may have taken effect"

/** The world that outlives the processes of one turn: what took effect, what was reported, and the laws that were broken. */
export class TestedWorld {
  readonly faults: ConformanceFault[] = []
  readonly script: TurnScript
  /** Where the turn was interrupted, for the faults. */
  place: string
  /** The clock, in milliseconds. */
  now = 1_000
  readonly #expected: TestedEnd | undefined
  readonly #performed = new Map<string, number>()
  readonly #keys = new Map<string, string>()
  readonly #records: (string | undefined)[] = []
  readonly #finished = new Set<string>()
  /** The `once` calls that an interruption may have cut off, by their place in the script. */
  readonly #cutOff = new Set<string>()
  /** The effect of each batch that was asked for. */
  readonly #batches = new Map<number, number>()
  /** The effect that was asked for last. Its id shows which answers were acted on. */
  #effectId = 0
  /** What people decided about held calls, by their place in the script. */
  readonly #decided = new Set<string>()
  /** The held calls about which the host has stored a decision. */
  readonly #settled = new Set<string>()
  #asked = 0
  #firstRecord: number | undefined
  #end: TestedEnd | undefined
  /** The process whose turn another one may take over while it still runs, and the effect that was outstanding then. */
  #rival: { readonly of: Reporter; readonly effectId: number; hasBegun: boolean } | undefined

  /** `expected`: the end of the turn without an interruption. */
  constructor(script: TurnScript, place: string, expected?: TestedEnd) {
    this.script = script
    this.place = place
    this.#expected = expected
  }

  /** How often work was asked for. */
  get asked(): number {
    return this.#asked
  }

  /** The id of the effect that was asked for last. */
  get effectId(): number {
    return this.#effectId
  }

  fault(law: ConformanceLaw, message: string): void {
    this.faults.push({ law, place: this.place, message })
  }

  /** The running work is interrupted: calls of the last batch, or of the next one, whose starts may be recorded, may have an unknown outcome. */
  interrupt(): void {
    for (const batch of [this.#batches.size - 1, this.#batches.size]) {
      const isOver = batch < this.#batches.size && this.#batches.get(batch) !== this.#effectId
      if (!isOver) for (const call of this.script.batches[batch]?.keys() ?? []) this.#cutOff.add(placeText({ batch, call }))
    }
  }

  /** This work ended long before its process was killed. */
  finished(name: string): void {
    this.#finished.add(name)
  }

  /** Another process starts to run the turn while this one still does. */
  rival(of: Reporter): void {
    this.#rival = { of, effectId: this.#effectId, hasBegun: false }
  }

  /** An executor was called. */
  ask(process: Reporter, work: ScriptedWork, { idempotencyKey }: EffectContext): void {
    const { name, effectId, place } = work
    this.#asked += 1
    if (place !== undefined && this.#scripted(place)?.held !== undefined && !(this.#decided.has(placeText(place)) && this.#isAllowed(place)))
      this.fault("consent", `${describe(work)} began, although ${this.#isAllowed(place) ? "it has no decision" : "it was rejected"}.`)
    if (place !== undefined) this.#batches.set(place.batch, effectId)
    this.#checkKey(work, idempotencyKey)
    if (this.#rival?.of === process) {
      const { hasBegun, effectId: held } = this.#rival
      if (hasBegun && effectId > held)
        this.fault("exclusive", `A second instance continued the turn, and then the first one performed ${describe(work)}.`)
    } else if (this.#end !== undefined) this.fault("remembers", `${describe(work)} was performed after the turn had ended.`)
    else {
      if (this.#rival !== undefined) this.#rival.hasBegun = true
      if (effectId < this.#effectId)
        this.fault("answers", `${describe(work)} was asked for again, although effect ${this.#effectId} had begun, which follows from its answer.`)
      else if (process.asked.has(name)) this.fault("answers", `${describe(work)} was asked for twice by one process.`)
    }
    if (this.#finished.has(name)) this.fault("calls", `${describe(work)} ran again, although it had ended before the process was killed.`)
    process.asked.add(name)
    this.#effectId = Math.max(this.#effectId, effectId)
  }

  /** Work takes effect. */
  take(work: ScriptedWork): void {
    const key = work.place === undefined ? work.name : placeText(work.place)
    const times = (this.#performed.get(key) ?? 0) + 1
    this.#performed.set(key, times)
    if (work.kind === "once" && times > 1) this.fault("once", `${describe(work)} must not run twice. It took effect ${times} times.`)
  }

  /** A host asks people about held calls, and they decide about some. */
  decide(held: readonly HeldCall[], callIds: readonly string[]): void {
    for (const { callId, args } of held) {
      const place = args as unknown as CallPlace
      if (this.#settled.has(placeText(place))) this.fault("decided", `A decision about call ${callId} was asked for, although one was stored.`)
      if (this.tookEffect(place)) this.fault("consent", `A decision about call ${callId} was asked for, although the call took effect.`)
      if (callIds.includes(callId)) this.#decided.add(placeText(place))
    }
  }

  /** The host has stored a decision about a held call. */
  settled({ args }: HeldCall): void {
    this.#settled.add(placeText(args as unknown as CallPlace))
  }

  /** A run was suspended. `expected`: the ids of the calls that wait. */
  suspended({ held, pending }: TestedSuspension, expected: readonly string[]): void {
    const waiting = [...held, ...pending].map(({ callId }) => callId).sort()
    const difference = firstDifference(waiting, [...expected].sort())
    if (difference !== undefined)
      this.fault("suspended", `The run was suspended with other calls than those that wait, ${describeDifference(difference)}`)
  }

  tookEffect(place: CallPlace): boolean {
    return this.#performed.has(placeText(place))
  }

  /** Records were reported. The first process that reports a place decides what is there. */
  report(process: Reporter, { type, recordsFrom, eventDelta }: Progress | Done): void {
    this.#firstRecord ??= recordsFrom
    const least = process.nextRecord ?? this.#firstRecord
    // What an earlier process reported may be left out.
    const most = Math.max(this.#records.length, this.#firstRecord)
    if (recordsFrom < least || recordsFrom > most)
      this.fault(
        "records",
        `${type} of process ${process.number} has recordsFrom ${recordsFrom}. Expected: ${least === most ? least : `${least} to ${most}`}.`,
      )
    for (const [index, record] of eventDelta.entries()) {
      const [place, text] = [recordsFrom + index, JSON.stringify(record)]
      const known = this.#records[place]
      if (known !== undefined && known !== text)
        this.fault("records", `Record ${place} was reported before as\n${known}\nand by process ${process.number} as\n${text}`)
      this.#records[place] = text
    }
    process.nextRecord = recordsFrom + eventDelta.length
  }

  /** A run returned the end of the turn. With `cancelled`, the turn may have been cancelled. */
  end(end: TestedEnd, cancelled: boolean): void {
    if (this.#end !== undefined) {
      const difference = firstDifference(common(end, this.#end), common(this.#end, end))
      if (difference !== undefined) this.fault("remembers", `The turn was run again and ended differently, ${describeDifference(difference)}`)
      return
    }
    this.#end = end
    const { outcome } = end
    const isCancelled = cancelled && outcome.type === "stopped" && outcome.stop.type === "cancelled"
    if (!isCancelled && this.#expected !== undefined) {
      const difference = firstDifference(
        this.#blanked(common(end, this.#expected), end, cancelled),
        this.#blanked(common(this.#expected, end), end, cancelled),
      )
      if (difference !== undefined) this.fault("ends", `The turn ended differently, ${describeDifference(difference)}`)
    }
    this.#checkResults(end.messages)
    this.#checkRecords(end.messages)
  }

  #checkKey(work: ScriptedWork, key: string | undefined): void {
    const { name } = work
    const known = this.#keys.get(name)
    if (key === undefined) this.fault("keys", `${describe(work)} has no idempotency key.`)
    else if (known === undefined) {
      for (const [other, taken] of this.#keys) if (taken === key) this.fault("keys", `${describe(work)} has the key ${shown(key)} of work ${other}.`)
      this.#keys.set(name, key)
    } else if (known !== key) this.fault("keys", `${describe(work)} was repeated under the key ${shown(key)}. Expected: ${shown(known)}.`)
  }

  /**
   * Leaves out of an end the results of `once` calls that were cut off, where the other end may say that they are unknown. Of a turn that
   * was to be cancelled, a call may have been given up before it was looked up.
   */
  #blanked(end: TestedEnd, received: TestedEnd, cancelled: boolean): TestedEnd {
    const unknown = new Set<string>()
    for (const { place, callId, results } of callsOf(received.messages)) {
      const scripted = this.#scripted(place)
      const mayBe = scripted?.effects === "once" && (scripted.recover !== "finds" || cancelled) && this.#cutOff.has(placeText(place))
      if (mayBe && results.some(({ text }) => text.includes(MAY_HAVE))) unknown.add(`${place.batch} ${callId}`)
    }
    let batch = -1
    const messages = end.messages.map((message) => {
      batch = batchOf(message) ?? batch
      return {
        ...message,
        parts: message.parts.map((part) => {
          if (part.type !== "tool_result" || !unknown.has(`${batch} ${part.callId}`)) return part
          const { isError: _isError, content: _content, ...rest } = part
          return { ...rest, text: MAY_HAVE }
        }),
      }
    })
    return { ...end, messages }
  }

  #checkResults(messages: readonly Message[]): void {
    const expected = new Map(callsOf(this.#expected?.messages ?? []).map(({ place, results }) => [placeText(place), results[0]?.text]))
    for (const { place, callId, results } of callsOf(messages)) {
      const what = `call ${callId} of batch ${place.batch + 1}`
      if (results.length !== 1) this.fault("pairs", `The transcript has ${results.length} results for ${what}. Expected: 1.`)
      const [result] = results
      if (result === undefined || this.#expected === undefined) continue
      const [took, effects] = [this.tookEffect(place), this.#scripted(place)?.effects]
      if (!took && this.#isAllowed(place) && result.text === expected.get(placeText(place)))
        this.fault("truth", `${what} (${effects}) did not take effect, but its result is ${shown(result.text)}.`)
      if (took && effects === "once" && result.text !== expected.get(placeText(place)) && !result.text.includes(MAY_HAVE))
        this.fault("truth", `${what} (once) took effect, but its result is ${shown(result.text)}. Expected: its value, or that it ${MAY_HAVE}.`)
    }
  }

  #checkRecords(messages: readonly Message[]): void {
    const started = new Set(START.messages.map(({ id }) => id))
    const added = (ids: readonly string[]): readonly string[] => ids.filter((id) => !started.has(id))
    const reported: string[] = []
    for (let place = this.#firstRecord ?? 0; place < this.#records.length; place += 1) {
      const text = this.#records[place]
      const record = text === undefined ? undefined : (JSON.parse(text) as { readonly type: string; readonly message?: Message })
      if (record === undefined) this.fault("records", `Record ${place} was never reported.`)
      else if (record.message !== undefined) reported.push(record.message.id)
    }
    const difference = firstDifference(added(reported), added(messages.map(({ id }) => id)))
    if (difference !== undefined) this.fault("records", `The reported messages are not those of the transcript, ${describeDifference(difference)}`)
  }

  #isAllowed(place: CallPlace): boolean {
    return this.#scripted(place)?.held !== "reject"
  }

  #scripted({ batch, call }: CallPlace): ScriptedCall | undefined {
    return this.script.batches[batch]?.[call]
  }
}

export function describe({ kind, name }: ScriptedWork): string {
  const [effectId, callId] = name.split(":")
  return callId === undefined ? `the ${kind} of effect ${effectId}` : `call ${callId} of effect ${effectId} (${kind})`
}

function placeText({ batch, call }: CallPlace): string {
  return `${batch}.${call}`
}

/** The members of one end that both ends have. */
function common(end: TestedEnd, other: TestedEnd): TestedEnd {
  const { outcome, messages, iteration, usage } = end
  return {
    outcome,
    messages,
    ...(iteration !== undefined && other.iteration !== undefined && { iteration }),
    ...(usage !== undefined && other.usage !== undefined && { usage }),
  }
}

/** The batch that a message of the model asks for. */
function batchOf({ parts }: Message): number | undefined {
  for (const part of parts) if (part.type === "tool_call") return (JSON.parse(part.inputJson) as CallPlace).batch
  return undefined
}

interface CallResults {
  readonly place: CallPlace
  readonly callId: string
  readonly results: { readonly text: string }[]
}

/** The tool calls of a transcript with their results. A result without its call is one of a call without a place. */
function callsOf(messages: readonly Message[]): readonly CallResults[] {
  const all: CallResults[] = []
  let open = new Map<string, CallResults>()
  for (const message of messages) {
    if (batchOf(message) !== undefined) open = new Map()
    for (const part of message.parts) {
      if (part.type === "tool_call") {
        const call = { place: JSON.parse(part.inputJson) as CallPlace, callId: part.callId, results: [] }
        all.push(call)
        open.set(part.callId, call)
      } else if (part.type === "tool_result") open.get(part.callId)?.results.push(part)
    }
  }
  return all
}
