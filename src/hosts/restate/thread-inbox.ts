import type { Json } from "../../json.ts"
import type { Decision } from "../../wire/approval.ts"
import type { GoalCommand } from "../../wire/goal.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import type { InputTime } from "../../wire/thread.ts"
import type { ToolAnswer } from "../host.ts"
import type { ThreadInput } from "../thread/thread.ts"
import type { DurablePromise } from "./context.ts"
import type { ObjectClient, SharedThreadContext, ThreadContext } from "./thread-context.ts"

/** What arrives for a thread. */
export type InboxItem =
  | {
      readonly type: "said"
      readonly input: ThreadInput
      readonly when?: InputTime
      readonly key?: string
      readonly attachments?: readonly AttachmentRef[]
    }
  | { readonly type: "commanded"; readonly command: GoalCommand; readonly key?: string }
  | { readonly type: "happened"; readonly event: string; readonly key?: string }
  | { readonly type: "decided"; readonly decisions: readonly Decision[]; readonly turnId?: string; readonly at: number }
  | { readonly type: "answered"; readonly callId: string; readonly answer: ToolAnswer; readonly turnId?: string; readonly at: number }
  | { readonly type: "retracted"; readonly inputId: string }
  | { readonly type: "interrupted"; readonly reason?: string }

/** An item that waits, with the awakeable that receives its result. */
export interface InboxEntry {
  readonly item: InboxItem
  /** When it arrived. Milliseconds since the epoch. */
  readonly at: number
  readonly reply?: string
}

/** What a sender receives about its item. */
export type InboxReply = { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly code: string; readonly message: string }

/** What {@link takeItems} was asked for. */
export interface TakeRequest {
  /** The items before this number are in the log of the thread, and are removed. */
  readonly from: number
  /** The awakeable to resolve when the next item arrives, unless there are some now. */
  readonly waiter: string
}

/** Items in their order, and the number of the one that comes next. */
export interface TakenItems {
  readonly entries: readonly InboxEntry[]
  readonly next: number
}

/** How many items are handed out at once. */
const MOST_ITEMS = 64

/** No further item is handed out after so many characters: the server refuses messages of 32 MiB. */
const MOST_CHARS = 1_000_000

const itemKey = (number: number): string => `item:${number}`

/**
 * The key of the object that receives what arrives for a thread: a handler may not change the state of an object while another one of it runs, and
 * a turn may run for days.
 */
export function inboxKey(key: string): string {
  return `${key}${INBOX}`
}

/** Whether a key is that of an inbox. No thread may have it. */
export function isInboxKey(key: string): boolean {
  return key.endsWith(INBOX)
}

const INBOX = "/inbox"

/** Handler of an inbox, exclusive: stores an item, and wakes the run that waits for one. Returns the number of the item. */
export async function putItem(ctx: ThreadContext, { item, reply }: Omit<InboxEntry, "at">): Promise<number> {
  const number = (await ctx.get<number>("end")) ?? 0
  const waiter = await ctx.get<string>("waiter")
  const entry: InboxEntry = { item, at: await ctx.date.now(), ...(reply !== undefined && { reply }) }
  ctx.set(itemKey(number), entry)
  ctx.set("end", number + 1)
  if (waiter !== null) {
    ctx.clear("waiter")
    ctx.resolveAwakeable(waiter)
  }
  return number
}

/** Handler of an inbox, exclusive: hands items out. They stay until a later call says that they are in the log. */
export async function takeItems(ctx: ThreadContext, { from, waiter }: TakeRequest): Promise<TakenItems> {
  const begin = (await ctx.get<number>("begin")) ?? 0
  const end = (await ctx.get<number>("end")) ?? 0
  for (let number = begin; number < from; number += 1) ctx.clear(itemKey(number))
  if (from > begin) ctx.set("begin", from)
  const entries: InboxEntry[] = []
  // The state of a thread that was cleared asks for items that are gone.
  let next = Math.max(from, begin)
  for (let chars = 0; next < end && entries.length < MOST_ITEMS && chars < MOST_CHARS; next += 1) {
    const entry = await ctx.get<InboxEntry>(itemKey(next))
    if (entry === null) continue
    entries.push(entry)
    chars += JSON.stringify(entry).length
  }
  if (entries.length === 0) ctx.set("waiter", waiter)
  return { entries, next }
}

/** Handler of an inbox, shared: the items that no run has recorded. `from`: the first of them, as the thread knows it. */
export async function peekItems(ctx: SharedThreadContext, { from }: { readonly from: number }): Promise<readonly InboxEntry[]> {
  const end = (await ctx.get<number>("end")) ?? 0
  const entries: InboxEntry[] = []
  for (let number = from; number < end; number += 1) {
    const entry = await ctx.get<InboxEntry>(itemKey(number))
    if (entry !== null) entries.push(entry)
  }
  return entries
}

interface Waiter {
  readonly id: string
  readonly promise: DurablePromise<unknown>
}

/** The inbox as the run of its thread sees it. */
export class Inbox {
  readonly #ctx: ThreadContext
  readonly #service: string
  #from: number
  #waiter: Waiter | undefined

  /** `from`: the number of the first item that is not in the log. */
  constructor(ctx: ThreadContext, service: string, from: number) {
    this.#ctx = ctx
    this.#service = service
    this.#from = from
  }

  /** The number of the first item that is not in the log. */
  get from(): number {
    return this.#from
  }

  /** Takes what has arrived. Call {@link recorded} when it is in the log. */
  async take(): Promise<TakenItems> {
    const client = this.#ctx.objectClient({ name: this.#service }, inboxKey(this.#ctx.key)) as ObjectClient
    const request: TakeRequest = { from: this.#from, waiter: this.#waiting.id }
    return (await client["take"]?.(request)) as TakenItems
  }

  /** What was taken is in the log. */
  recorded({ next }: TakenItems): void {
    if (next === this.#from) return
    this.#from = next
    this.#ctx.set(CURSOR, next)
  }

  /** Resolves when something arrives after the last {@link take}, which found nothing. */
  get arrival(): DurablePromise<unknown> {
    return this.#waiting.promise
  }

  /** {@link arrival} has resolved. */
  arrived(): void {
    this.#waiter = undefined
  }

  get #waiting(): Waiter {
    this.#waiter ??= this.#ctx.awakeable()
    return this.#waiter
  }
}

/** The key under which a thread has the number of the first item that is not in its log. */
export const CURSOR = "cursor"
