import { type DurablePromise, isCancellation, type RestateSdk } from "./context.ts"

/** The result of something that a turn waits for. */
interface Settled {
  readonly key: string
  readonly value?: unknown
  readonly failure?: Error
}

/** Something that a turn waits for. */
interface Open {
  readonly promise: DurablePromise<Settled>
  readonly isWork: boolean
  settle(value: unknown): Promise<void> | void
  fail?(failure: Error): Promise<void> | void
}

interface WaitOptions {
  /** Whether it is work of this process, which a cancelled turn waits for. Default false. */
  readonly isWork?: boolean
  /** Absent: a failure ends the invocation. */
  readonly fail?: (failure: Error) => Promise<void> | void
}

/** What a turn waits for, in the order in which it began. */
export class OpenWaits {
  readonly #sdk: RestateSdk
  readonly #open = new Map<string, Open>()

  constructor(sdk: RestateSdk) {
    this.#sdk = sdk
  }

  get size(): number {
    return this.#open.size
  }

  has(key: string): boolean {
    return this.#open.has(key)
  }

  keys(): readonly string[] {
    return [...this.#open.keys()]
  }

  add<Value>(key: string, promise: DurablePromise<Value>, settle: (value: Value) => Promise<void> | void, options: WaitOptions = {}): void {
    const { isWork = false, fail } = options
    const tagged = promise.map((value, failure): Settled => ({ key, value, ...(failure !== undefined && { failure }) }))
    this.#open.set(key, { promise: tagged, isWork, settle: (value) => settle(value as Value), ...(fail !== undefined && { fail }) })
  }

  /** No longer waits for what is not wanted. */
  keep(isWanted: (key: string, isWork: boolean) => boolean): void {
    for (const [key, { isWork }] of this.#open) if (!isWanted(key, isWork)) this.#open.delete(key)
  }

  clear(): void {
    this.#open.clear()
  }

  /** Waits for the next thing that is recorded, and acts on it. All attempts see the same order. `cancelled`: the invocation was cancelled instead. */
  async next(): Promise<"settled" | "cancelled"> {
    let settled: Settled
    try {
      settled = await this.#sdk.RestatePromise.race([...this.#open.values()].map(({ promise }) => promise))
    } catch (error) {
      if (!isCancellation(error)) throw error
      return "cancelled"
    }
    const { key, value, failure } = settled
    const open = this.#open.get(key)
    this.#open.delete(key)
    if (failure === undefined) await open?.settle(value)
    else if (open?.fail === undefined) throw failure
    else await open.fail(failure)
    return "settled"
  }
}
