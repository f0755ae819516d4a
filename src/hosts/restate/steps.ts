import type { TurnEvent } from "../../wire/event.ts"
import type { DurablePromise, RestateContext } from "./context.ts"

/** The steps of an invocation's journal, and the events that are emitted between them. */
export class Steps {
  readonly #ctx: RestateContext
  readonly #onEvent: ((event: TurnEvent) => unknown) | undefined
  /** Events that no live step has emitted yet. */
  #events: { readonly number: number; readonly event: TurnEvent }[] = []
  #emitted = 0

  constructor(ctx: RestateContext, onEvent: ((event: TurnEvent) => unknown) | undefined) {
    this.#ctx = ctx
    this.#onEvent = onEvent
  }

  /** A step of the journal. Events from before it are emitted when it runs, and dropped if it ran in an earlier attempt. */
  step<Value>(name: string, action: () => Promise<Value>): DurablePromise<Value> {
    const before = this.#emitted
    let isLive = false
    const promise = this.#ctx.run(name, async () => {
      isLive = true
      await this.flush()
      return action()
    })
    return promise.map((value, failure) => {
      if (failure !== undefined) throw failure
      if (!isLive) this.#events = this.#events.filter(({ number }) => number > before)
      return value as Value
    })
  }

  /** Emits an event with the next step that runs. */
  emit(event: TurnEvent): void {
    if (this.#onEvent === undefined) return
    this.#emitted += 1
    this.#events.push({ number: this.#emitted, event })
  }

  diagnose(text: string): void {
    this.emit(Object.freeze({ type: "message", kind: "diagnostic", text }))
  }

  /** Emits the events that wait for a step. */
  async flush(): Promise<void> {
    const events = this.#events
    this.#events = []
    for (const { event } of events) await this.#onEvent?.(event)
  }
}
