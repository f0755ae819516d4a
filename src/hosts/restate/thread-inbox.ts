import type { Json } from "../../json.ts"
import type { Decision } from "../../wire/approval.ts"
import type { GoalCommand } from "../../wire/goal.ts"
import type { AttachmentRef } from "../../wire/message.ts"
import type { InputTime } from "../../wire/thread.ts"
import type { ToolAnswer } from "../host.ts"
import type { ThreadInput } from "../thread/thread.ts"
import type { DurablePromise } from "./context.ts"
import type { ObjectClient, SharedThreadContext, StateReader, StateWriter, ThreadContext } from "./thread-context.ts"

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

/**
 * The place of an item in an inbox. An inbox whose state was cleared counts from 0 again, and so is another one: `inbox` is the id of the invocation
 * that stored its first item.
 */
export type InboxPlace = { readonly inbox: string; readonly number: number }

/** Whether an item comes before a place of the same inbox. The item may come from a client. */
export function isBefore(item: InboxPlace | null | undefined, place: InboxPlace): boolean {
  return item?.inbox === place.inbox && item.number < place.number
}

/** What {@link takeItems} was asked for. */
export interface TakeRequest {
  /** The items before this place are in the log of the thread, and are removed. */
  readonly from: InboxPlace
  /** The awakeable to resolve when the next item arrives, unless there are some now. */
  readonly waiter: string
}

/** Items in their order, and the place of the one that comes next. */
export interface TakenItems {
  readonly entries: readonly InboxEntry[]
  readonly next: InboxPlace
}

/** The place of an item that was stored. `isFirst`: the inbox was empty and knows of no run that waits; it was new, or its state was cleared. */
export interface PutItem {
  readonly place: InboxPlace
  readonly isFirst: boolean
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

/** Handler of an inbox, exclusive: stores an item, and wakes the run that waits for one. */
export async function putItem(ctx: ThreadContext, { item, reply }: Omit<InboxEntry, "at">): Promise<PutItem> {
  const known = await ctx.get<string>("id")
  const inbox = known ?? ctx.request().id
  const number = (await ctx.get<number>("end")) ?? 0
  const waiter = await ctx.get<string>("waiter")
  const entry: InboxEntry = { item, at: await ctx.date.now(), ...(reply !== undefined && { reply }) }
  if (known === null) ctx.set("id", inbox)
  ctx.set(itemKey(number), entry)
  ctx.set("end", number + 1)
  if (waiter !== null) {
    ctx.clear("waiter")
    ctx.resolveAwakeable(waiter)
  }
  return { place: { inbox, number }, isFirst: known === null && waiter === null }
}

/** Handler of an inbox, exclusive: hands items out. They stay until a later call says that they are in the log. */
export async function takeItems(ctx: ThreadContext, { from, waiter }: TakeRequest): Promise<TakenItems> {
  const inbox = (await ctx.get<string>("id")) ?? NO_INBOX
  const begin = (await ctx.get<number>("begin")) ?? 0
  const end = (await ctx.get<number>("end")) ?? 0
  // The log has nothing of another inbox: its state was cleared, or that of the thread.
  const recorded = from.inbox === inbox ? from.number : begin
  for (let number = begin; number < recorded; number += 1) ctx.clear(itemKey(number))
  if (recorded > begin) ctx.set("begin", recorded)
  const entries: InboxEntry[] = []
  let number = recorded
  for (let chars = 0; number < end && entries.length < MOST_ITEMS && chars < MOST_CHARS; number += 1) {
    const entry = await ctx.get<InboxEntry>(itemKey(number))
    if (entry === null) continue
    entries.push(entry)
    chars += JSON.stringify(entry).length
  }
  if (entries.length === 0) ctx.set("waiter", waiter)
  return { entries, next: { inbox, number } }
}

/** Handler of an inbox, shared: the items that no run has recorded. `from`: the first of them, as the thread knows it. */
export async function peekItems(ctx: SharedThreadContext, { from }: { readonly from: InboxPlace }): Promise<readonly InboxEntry[]> {
  const inbox = (await ctx.get<string>("id")) ?? NO_INBOX
  const end = (await ctx.get<number>("end")) ?? 0
  const begin = from.inbox === inbox ? from.number : ((await ctx.get<number>("begin")) ?? 0)
  const entries: InboxEntry[] = []
  for (let number = begin; number < end; number += 1) {
    const entry = await ctx.get<InboxEntry>(itemKey(number))
    if (entry !== null) entries.push(entry)
  }
  return entries
}

/** Handler of a thread, shared: wakes the run that waits for an item, of which its inbox knows nothing. */
export async function wakeRun(ctx: SharedThreadContext): Promise<null> {
  const waiter = await ctx.get<string>(WAITER)
  if (waiter !== null) ctx.resolveAwakeable(waiter)
  return null
}

interface Waiter {
  readonly id: string
  readonly promise: DurablePromise<unknown>
}

/** The inbox as the run of its thread sees it. */
export class Inbox {
  readonly #ctx: ThreadContext
  readonly #state: StateReader & StateWriter
  readonly #service: string
  #from: InboxPlace = BEGINNING
  #waiter: Waiter | undefined

  constructor(ctx: ThreadContext, state: StateReader & StateWriter, service: string) {
    this.#ctx = ctx
    this.#state = state
    this.#service = service
  }

  /** Reads and returns the place of the first item that is not in the log. */
  async load(): Promise<InboxPlace> {
    this.#from = await cursorOf(this.#state)
    return this.#from
  }

  /** Takes what has arrived. Call {@link recorded} when it is in the log. */
  async take(): Promise<TakenItems> {
    const waiter = this.#waiting.id
    const client = this.#ctx.objectClient({ name: this.#service }, inboxKey(this.#ctx.key)) as ObjectClient
    const request: TakeRequest = { from: this.#from, waiter }
    return (await client["take"]?.(request)) as TakenItems
  }

  /** What was taken is in the log. */
  recorded({ next }: TakenItems): void {
    if (next.number === this.#from.number && next.inbox === this.#from.inbox) return
    this.#from = next
    this.#state.set<InboxPlace>(CURSOR, next)
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
    if (this.#waiter === undefined) {
      this.#waiter = this.#ctx.awakeable()
      // Before the inbox knows it: an item that finds no waiter there was stored later.
      this.#state.set(WAITER, this.#waiter.id)
    }
    return this.#waiter
  }
}

/** The place of the first item that is not in the log of a thread. */
export async function cursorOf(state: Pick<StateReader, "get">): Promise<InboxPlace> {
  return (await state.get<InboxPlace>(CURSOR)) ?? BEGINNING
}

/** The key under which a thread has the place of the first item that is not in its log. */
const CURSOR = "cursor"

/** The key under which a thread has the awakeable of its last run for the next item. */
const WAITER = "waiter"

/** Of an inbox in which nothing was stored. */
const NO_INBOX = ""

const BEGINNING: InboxPlace = { inbox: NO_INBOX, number: 0 }
