import { goalInputEvent } from "../../drivers/goal/deliveries.ts"
import type { Json } from "../../json.ts"
import { tokensOf } from "../../machine/limits.ts"
import { digest } from "../../replay/digest.ts"
import type { Goal, GoalInput, GoalMemory } from "../../wire/goal.ts"
import type { Message, TurnCause } from "../../wire/message.ts"
import type { ChildReport, DetachedChildren } from "../host.ts"
import type { JournalStore } from "../journal/store.ts"
import type { ThreadLog } from "../journal/thread-log.ts"
import { childrenPrefix } from "../run/child-place.ts"
import type { GoalTurnOptions } from "./config.ts"

/** What the children of a thread need of it. */
interface ParentThread {
  readonly threadId: string
  readonly store: JournalStore
  readonly log: ThreadLog
  readonly options: Pick<GoalTurnOptions, "goal">
  now(): number
  wake(): void
}

/** The children of a thread's turns whose calls do not wait for them. */
export class ThreadChildren {
  readonly #thread: ParentThread
  readonly #children: DetachedChildren
  /** What was reported last of each child that this process has run. */
  readonly #reports = new Map<string, ChildReport>()
  readonly #stopWatching: () => void

  constructor(thread: ParentThread, children: DetachedChildren) {
    this.#thread = thread
    this.#children = children
    this.#stopWatching = children.watch(thread.store, thread.threadId, (report) => this.#receive(report))
  }

  /** Whether these are the children of a run. */
  isOf(children: DetachedChildren): boolean {
    return this.#children === children
  }

  /** Continues those that are open, and records the ends that the thread does not know. */
  async resume(): Promise<void> {
    const { store, threadId } = this.#thread
    await this.#children.resume(store, { prefix: `${threadId}.`, isKnown: (name) => !this.#isOwn(name) || isSettled(this.#thread.log, name) })
  }

  /** Cancels the children of a turn. */
  async cancel(turnId: string): Promise<void> {
    const { store } = this.#thread
    const prefix = childrenPrefix(turnId)
    this.#children.cancel(store, { prefix })
    // Those that wait for a decision do not run. They are found cancelled with their parent.
    await this.#children.resume(store, { prefix, isKnown: (name) => isSettled(this.#thread.log, name) })
  }

  get isRunning(): boolean {
    const { store, threadId } = this.#thread
    return this.#children.isRunning(store, `${threadId}.`, (name) => this.#isOwn(name))
  }

  /** What the children have used since their last report to the goal. `memory`: what the goal knows. */
  usage(goal: Goal | null, { children: known = [] }: Pick<GoalMemory, "children">): readonly GoalInput[] {
    const { costMicros } = this.#thread.options.goal ?? {}
    const inputs: GoalInput[] = []
    for (const { childId, usage, startedAt = 0, end } of this.#reports.values()) {
      const before = known.find((child) => child.childId === childId)?.tokens ?? 0
      // A child that began before the goal works for an earlier one.
      if (goal === null || tokensOf(usage) <= before || startedAt < goal.createdAt) {
        // The goal does not remember all children that have ended.
        if (end !== undefined) this.#reports.delete(childId)
        continue
      }
      const cost = costMicros === undefined ? {} : { costMicros: costMicros(usage) }
      inputs.push({ type: "child_usage_reported", at: this.#thread.now(), childId, goalId: goal.goalId, usage, ...cost })
    }
    return inputs
  }

  /** The tokens that children of other turns have reserved or used, and the goal was not charged for. */
  reserved(turnId: string, { children: known = [] }: Pick<GoalMemory, "children">): number {
    let sum = 0
    for (const { childId, usage, parent, end } of this.#reports.values()) {
      if (parent.turnId === turnId) continue
      const used = tokensOf(usage)
      const charged = known.find((child) => child.childId === childId)?.tokens ?? 0
      sum += Math.max(0, (end === undefined ? Math.max(used, parent.lease ?? 0) : used) - charged)
    }
    return sum
  }

  /** The same as events of a delivery. */
  usageEvents(goal: Goal | null, memory: Pick<GoalMemory, "children">): readonly Json[] {
    return this.usage(goal, memory).map((input) => goalInputEvent(this.#thread.threadId, input))
  }

  stop(): void {
    this.#stopWatching()
  }

  /** A closed thread records nothing: the next process finds the end again. */
  async #receive(report: ChildReport): Promise<void> {
    const { name, end } = report
    if (!this.#isOwn(name)) return
    this.#reports.set(report.childId, report)
    if (end === undefined) return
    const { log } = this.#thread
    const key = endKey(name)
    if (log.queue.withKey(key) === undefined) await log.append({ type: "said", at: this.#thread.now(), message: messageOf(end), key }).catch(() => {})
    this.#thread.wake()
  }

  /** The name of another thread may begin with that of this one. */
  #isOwn(name: string): boolean {
    const { threadId } = this.#thread
    return name.startsWith(`${threadId}.`) && /^\d+\.child-[^.]*$/.test(name.slice(threadId.length + 1))
  }
}

/** What the id of an end begins with. The rest is the id of the child. */
const ID = "child:"

/**
 * Whether the thread has received the end of a child in the background, and its tokens with it: a crash may have come before the checkpoint that
 * charges them. Until then, the journal of the child is needed.
 */
export function isSettled({ queue, turn }: ThreadLog, name: string): boolean {
  if (queue.withKey(endKey(name)) === undefined) return false
  const unsettled = [...queue.messages.map(({ id }) => id), ...(turn?.said ?? [])]
  return !unsettled.some((id) => id.startsWith(ID) && name.endsWith(`-${digest(id.slice(ID.length))}`))
}

/** The key of the input that says how a child has ended. */
function endKey(name: string): string {
  return `child ${name}`
}

function messageOf({ id, origin, text }: TurnCause): Message {
  return { id, role: "event", parts: [{ id: `${id}.p0`, type: "text", text }], origin }
}
