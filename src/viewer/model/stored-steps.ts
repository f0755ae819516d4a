import type { Journal } from "../../replay/journal.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import type { StoredRequest, StoredStep, StoredSteps } from "../data.ts"
import type { RequestPair, TurnReplay } from "./turn-replay.ts"

/** Computes every step of a turn, for a page that cannot replay it. Each request is stored as a difference to the one before it. */
export function storedSteps(replay: TurnReplay, { entries }: Journal): StoredSteps {
  replay.run()
  const steps: StoredStep[] = []
  let last: LlmRequest | undefined
  for (const [index] of entries.entries()) {
    const step = replay.step(index)
    if (step === undefined) continue
    const pair = replay.request(index)
    if (pair === undefined) steps.push(step)
    else {
      const { previousRecord: previous, broken } = pair
      const request = difference(last, pair.request)
      last = pair.request
      steps.push({ ...step, request, ...(previous !== undefined && { previous }), ...(broken !== undefined && { broken }) })
    }
  }
  const verdict = replay.verdict ?? { type: "agrees", effects: 0 }
  return { verdict, steps, compared: replay.compared }
}

function difference(last: LlmRequest | undefined, { messages, ...rest }: LlmRequest): StoredRequest {
  const { messages: before, ...restBefore } = last ?? { messages: [] }
  let kept = 0
  while (kept < before.length && kept < messages.length && same(before[kept], messages[kept])) kept += 1
  return { kept, messages: messages.slice(kept), ...(!same(rest, restBefore) && { rest }) }
}

function same(left: unknown, right: unknown): boolean {
  return left === right || JSON.stringify(left) === JSON.stringify(right)
}

/** The stored steps of a turn, by their entries, with whole requests. */
export class StoredReplay {
  readonly #steps: readonly StoredStep[]
  readonly #indexOf: ReadonlyMap<number, number>
  readonly #requests = new Map<number, LlmRequest>()

  constructor({ steps }: StoredSteps) {
    this.#steps = steps
    this.#indexOf = new Map(steps.map(({ number }, index) => [number, index]))
  }

  /** The step of a record. */
  step(number: number): StoredStep | undefined {
    const index = this.#indexOf.get(number)
    return index === undefined ? undefined : this.#steps[index]
  }

  /** The request that a record answers. */
  request(number: number): RequestPair | undefined {
    const step = this.step(number)
    const request = this.#whole(number)
    if (step === undefined || request === undefined) return undefined
    const previous = step.previous === undefined ? undefined : this.#whole(step.previous)
    return { request, previous, previousRecord: step.previous, broken: step.broken }
  }

  get breaks(): readonly { readonly record: number; readonly broken: NonNullable<StoredStep["broken"]> }[] {
    return this.#steps.flatMap(({ number, broken }) => (broken === undefined ? [] : [{ record: number, broken }]))
  }

  /** Puts a request together from those before it. */
  #whole(number: number): LlmRequest | undefined {
    const known = this.#requests.get(number)
    if (known !== undefined) return known
    const index = this.#indexOf.get(number)
    if (index === undefined || this.#steps[index]?.request === undefined) return undefined
    let request: LlmRequest | undefined
    for (let at = 0; at <= index; at += 1) {
      const stored = this.#steps[at]?.request
      if (stored === undefined) continue
      const rest = stored.rest ?? request
      if (rest !== undefined) request = { ...rest, messages: [...(request?.messages ?? []).slice(0, stored.kept), ...stored.messages] }
    }
    if (request !== undefined) this.#requests.set(number, request)
    return request
  }
}
