import { canonicalJson } from "../../json.ts"
import { quoted } from "../../text.ts"
import type { Done } from "../../wire/effect.ts"
import type { JournalParent } from "../../wire/journal.ts"
import type { CheckpointDelivery, TurnCause } from "../../wire/message.ts"
import type { PendingToolCall } from "../../wire/tool.ts"
import type { ChildPlace, ChildReport, DetachedChildren } from "../host.ts"
import type { JournalStore } from "../journal/store.ts"
import { childrenPrefix, parentName } from "../run/child-place.ts"
import { childResult } from "./child-result.ts"
import { type ChildRunOptions, type ChildTurn, openChild, runOpenChild } from "./child-run.ts"
import { readHeader, readTurn } from "./turn-tree.ts"

/** Options of {@link detachedChildren}. */
export interface DetachedChildrenOptions {
  /**
   * Receives errors of children that run in the background: a store that cannot be written, or a config that changed. The child stays open, and
   * the next `resume` continues it. Default: errors are ignored.
   */
  readonly onError?: (error: unknown, child: { readonly name: string; readonly turnId: string }) => void
}

/** A tool whose children may be detached. */
export interface DetachedTool {
  readonly options: ChildRunOptions
  /** @throws {TypeError} the arguments are not those of the tool */
  childOf(args: PendingToolCall["args"], place: ChildPlace): ChildTurn
}

/** The children of one process whose calls do not wait for them, and the tools that began them. */
export class DetachedRuns implements DetachedChildren {
  readonly #onError: NonNullable<DetachedChildrenOptions["onError"]>
  readonly #tools = new Map<string, DetachedTool>()
  readonly #running = new Set<Running>()
  readonly #watches = new Set<Watch>()
  /** Ends that no watch received, for {@link deliver}. */
  readonly #ends: { readonly store: JournalStore; readonly report: ChildReport }[] = []
  /** The journals of children whose calls wait for them. */
  readonly #settled = new WeakMap<JournalStore, Set<string>>()
  readonly #pause = new AbortController()

  constructor({ onError = () => {} }: DetachedChildrenOptions) {
    this.#onError = onError
  }

  /** Adds a tool, so that its children can be resumed. @throws {TypeError} another tool has its name */
  add(name: string, tool: DetachedTool): void {
    if (this.#tools.has(name)) throw new TypeError(`Two tools named ${quoted(name)} have the same detachedChildren. Make one for each set of tools.`)
    this.#tools.set(name, tool)
  }

  /**
   * Begins a child, or continues the one that its journal has. Resolves when that is stored; the child then runs in the background.
   * False: another call with the same id, and another task, has begun it.
   * @throws as `openChild`
   */
  async start(child: ChildTurn, options: ChildRunOptions, isCancelled = false): Promise<boolean> {
    const { store, name, parent } = child.place
    const known = this.#runningOf(store, (other) => other === name)[0]
    if (known !== undefined) {
      await known.begun
      return canonicalJson(known.parent.detached ?? null) === canonicalJson(parent.detached ?? null)
    }
    const cancel = new AbortController()
    if (isCancelled) cancel.abort()
    const opened = openChild({ ...child, place: { ...child.place, signal: cancel.signal } }, options)
    const begun = opened.then(() => {})
    const ended = opened.then((open) => {
      const report = (end?: TurnCause): Promise<void> => {
        return this.#report(store, {
          childId: child.place.turnId,
          name,
          parent: open.parent,
          ...(open.startedAt !== undefined && { startedAt: open.startedAt }),
          usage: open.machine.usage,
          ...(end !== undefined && { end }),
        })
      }
      void report()
      const onEvent: ChildRunOptions["onEvent"] = (event, place) => {
        if (event.type === "token_usage") void report()
        return options.onEvent?.(event, place)
      }
      const context = { pause: this.#pause.signal, emit: () => {} }
      return runOpenChild({ ...child, place: { ...child.place, signal: cancel.signal } }, open, { ...options, onEvent }, context).then((end) =>
        end.type === "done" ? report(endOf(child, end)) : report(),
      )
    })
    const running: Running = { store, name, parent: child.place.parent, cancel, begun, ended: ended.catch(() => {}) }
    this.#running.add(running)
    ended
      .catch((error: unknown) => {
        // An error before its beginning is that of the call.
        void begun.then(
          () => this.#onError(error, { name, turnId: child.place.turnId }),
          () => {},
        )
      })
      .finally(() => this.#running.delete(running))
    await begun
    return true
  }

  async resume(
    store: JournalStore,
    { prefix, isKnown = () => false }: { readonly prefix: string; readonly isKnown?: (name: string) => boolean },
  ): Promise<void> {
    const settled = this.#settled.get(store) ?? new Set<string>()
    this.#settled.set(store, settled)
    const outcomes = new Map<string, boolean>()
    for await (const name of store.list({ prefix })) {
      if (settled.has(name) || isKnown(name) || !isDirectChild(name) || this.isRunning(store, name)) continue
      try {
        const header = await readHeader(store, name)
        if (header === undefined) continue
        const { turnId, parent } = header
        if (parent?.detached === undefined) {
          settled.add(name)
          continue
        }
        const { toolName, args } = parent.detached
        const tool = this.#tools.get(toolName)
        if (tool === undefined)
          throw new TypeError(`The child ${quoted(turnId)} belongs to the tool ${quoted(toolName)}, which detachedChildren does not know.`)
        const above = parentName({ name })
        const isCancelled = outcomes.get(above) ?? (await isCancelledTurn(store, above, parent))
        outcomes.set(above, isCancelled)
        await this.start(tool.childOf(args, { turnId, store, name, parent, signal: new AbortController().signal }), tool.options, isCancelled)
      } catch (error) {
        this.#onError(error, { name, turnId: "" })
      }
    }
  }

  watch(store: JournalStore, prefix: string, receive: (report: ChildReport) => unknown): () => void {
    const watch: Watch = { store, prefix, receive }
    this.#watches.add(watch)
    return () => this.#watches.delete(watch)
  }

  isRunning(store: JournalStore, prefix: string, isMeant: (name: string) => boolean = () => true): boolean {
    return this.#runningOf(store, (name) => name.startsWith(prefix) && isMeant(name)).length > 0
  }

  cancel(store: JournalStore, { prefix, reason }: { readonly prefix: string; readonly reason?: string }): void {
    for (const { cancel } of this.#runningOf(store, (name) => name.startsWith(prefix))) cancel.abort(reason)
  }

  deliver(store: JournalStore, name: string): CheckpointDelivery {
    const prefix = childrenPrefix(name)
    const turnCauses = this.#ends.flatMap(({ store: own, report }) =>
      own === store && report.name.startsWith(prefix) && report.end ? [report.end] : [],
    )
    return turnCauses.length === 0 ? {} : { turnCauses }
  }

  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all([...this.#running].map(({ ended }) => ended))
  }

  async close(): Promise<void> {
    this.#pause.abort()
    await this.idle()
  }

  #runningOf(store: JournalStore, isMeant: (name: string) => boolean): readonly Running[] {
    return [...this.#running].filter((running) => running.store === store && isMeant(running.name))
  }

  async #report(store: JournalStore, report: ChildReport): Promise<void> {
    const watches = [...this.#watches].filter((watch) => watch.store === store && report.name.startsWith(watch.prefix))
    if (report.end !== undefined && watches.length === 0 && !this.#ends.some((known) => known.store === store && known.report.name === report.name))
      this.#ends.push({ store, report })
    for (const { receive } of watches) await receive(report)
  }
}

interface Running {
  readonly store: JournalStore
  readonly name: string
  readonly parent: JournalParent
  readonly cancel: AbortController
  readonly begun: Promise<void>
  readonly ended: Promise<void>
}

interface Watch {
  readonly store: JournalStore
  readonly prefix: string
  readonly receive: (report: ChildReport) => unknown
}

/**
 * Makes the home of children whose calls do not wait for them. Give it to the tools that begin them, and to the run of their thread, which
 * resumes those that a crash left open, and gives the model the end of each:
 *
 *     const children = detachedChildren()
 *     const research = childTool({ name: "research", description: "…", config, host, detached: children })
 *     await runThread(thread, { llmCall, tools: toolbox([research]) }, { children })
 *     await children.close()
 */
export function detachedChildren(options: DetachedChildrenOptions = {}): DetachedChildren {
  return new DetachedRuns(options)
}

/** What the model reads of the end of a child, with an id of its own. */
function endOf({ place: { turnId }, tool }: ChildTurn, done: Done): TurnCause {
  const { output } = childResult(done)
  const eventType = output.status === "success" ? "subagent_finished" : output.status === "cancelled" ? "subagent_cancelled" : "subagent_failed"
  const name = `The subagent ${quoted(turnId)} of ${quoted(tool)}`
  const text =
    output.status === "success"
      ? `${name} has finished. Its result:\n${typeof output.value === "string" ? output.value : JSON.stringify(output.value)}`
      : `${name} has ended. ${output.status === "cancelled" ? output.message : output.status === "failure" ? output.failure.message : ""}`
  return { id: `child:${turnId}`, eventType, origin: { type: "process", processId: turnId, eventType, sequence: 1 }, text }
}

/** Whether a journal is that of a child of a turn that is not a child. */
function isDirectChild(name: string): boolean {
  const mark = childrenPrefix("")
  return name.includes(mark) && name.indexOf(mark) === name.lastIndexOf(mark)
}

async function isCancelledTurn(store: JournalStore, name: string, { turnId }: JournalParent): Promise<boolean> {
  const turn = await readTurn(store, name)
  return turn?.turnId === turnId && turn.outcome?.type === "stopped" && turn.outcome.stop.type === "cancelled"
}

/** @throws {TypeError} not made by {@link detachedChildren} */
export function runsOf(children: DetachedChildren): DetachedRuns {
  if (children instanceof DetachedRuns) return children
  throw new TypeError("detached must be what detachedChildren() returns.")
}
