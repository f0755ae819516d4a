import type { TurnConfig } from "../../machine/config.ts"
import type { TurnMachine } from "../../machine/turn-machine.ts"
import type { ResumeOptions } from "../../replay/replay.ts"
import { quoted } from "../../text.ts"
import type { TurnStart } from "../../wire/config.ts"
import type { Done } from "../../wire/effect.ts"
import type { TurnEvent } from "../../wire/event.ts"
import type { ChildGrant, JournalHeader, JournalParent } from "../../wire/journal.ts"
import { type ChildPlace, type EffectContext, type Host, type RunLoop, type Suspended, ToolError } from "../host.ts"
import { noteRunningChild } from "../journal/running-children.ts"
import { JournalStoreError } from "../journal/store.ts"
import { TurnJournal, type TurnJournalOptions } from "../journal/turn-journal.ts"
import { endingRun, RunInterrupted } from "../run/interrupted.ts"
import { runTurn } from "../run/run-turn.ts"
import { onAbort } from "../timers.ts"
import { childFailure } from "./child-result.ts"
import { type ChildBudget, forgetEnded, isOf, leaseOf, oneByOne, siblingsOf } from "./lease.ts"

/** How a child runs. */
export interface ChildRunOptions {
  readonly host: Host
  readonly budget?: ChildBudget | undefined
  readonly maxOpen?: number | undefined
  readonly runTurn?: RunLoop | undefined
  readonly journal?: Omit<TurnJournalOptions, "takeOver" | "waitMs"> | undefined
  readonly resume?: ResumeOptions | undefined
  readonly cancelGraceMs?: number | undefined
  readonly onEvent?: ((event: TurnEvent, child: ChildPlace) => unknown) | undefined
}

/** One child: where it belongs, and the turn that it runs. */
export interface ChildTurn {
  readonly place: ChildPlace
  /** The name of its tool. */
  readonly tool: string
  readonly config: TurnConfig
  readonly start: TurnStart
}

/** How long the owner of a child's journal may take to close it: a process that records a decision. */
const WAIT_MS = 1_000

/** A child whose journal is open, and whose turn has begun or was resumed. */
export interface OpenChild {
  readonly journal: TurnJournal
  readonly machine: TurnMachine
  /** As in its header, with its lease. */
  readonly parent: JournalParent
  /** When it began. Milliseconds since the epoch; absent if its journal does not say. */
  readonly startedAt: number | undefined
  /** Closes its journal. */
  close(): Promise<void>
}

/**
 * Runs a child's turn until it ends or waits: begins it, or continues the one that its journal has. The signal of its place cancels it; a
 * run that ends early only suspends it.
 * @throws {ToolError} `child_budget`, `child_capacity`, `child_conflict`. The child did not begin.
 * @throws {JournalStoreError} its journal, or that of its parent, could not be written, or another process has it. It ends the run of the parent, too
 */
export async function runChild(child: ChildTurn, options: ChildRunOptions, context: ChildContext): Promise<Done | Suspended> {
  return runOpenChild(child, await openChild(child, options), options, context)
}

/** Begins a child's turn, or resumes the one that its journal has. Resolves when that is stored. @throws as {@link runChild} */
export async function openChild(child: ChildTurn, options: ChildRunOptions): Promise<OpenChild> {
  const { place, config } = child
  const journal = await openJournal(place, options).catch((error: unknown) => {
    throw ofRun(error)
  })
  try {
    const { recorded } = journal
    const { machine, parent } =
      recorded === undefined ? await begin(journal, child, options) : await resume(journal, config, own(recorded.header, place), options)
    const forget = noteRunningChild(place.store, place.name, journal)
    return {
      journal,
      machine,
      parent,
      startedAt: recorded === undefined ? (options.journal?.now ?? Date.now)() : recorded.header.at,
      close: () => {
        forget()
        return journal.close()
      },
    }
  } catch (error) {
    await journal.close()
    throw ofRun(error)
  }
}

/** What a child needs of the run of its parent. */
export type ChildContext = Pick<EffectContext, "pause" | "isFatal" | "emit">

/**
 * Runs an open child until it ends or waits, and closes its journal.
 * @throws {JournalStoreError} its journal could not be written, or another process has it. This ends the run of its parent, too.
 */
export async function runOpenChild(
  { place, tool, config }: ChildTurn,
  { journal, machine, close }: OpenChild,
  options: ChildRunOptions,
  context: ChildContext,
): Promise<Done | Suspended> {
  const { host, runTurn: loop = runTurn, cancelGraceMs = 1_000 / 2 ** (place.parent.depth - 1), onEvent } = options
  const cancel = new AbortController()
  const pause = new AbortController()
  const { signal } = place
  const stopWaiting = [
    onAbort(signal, () => (signal.reason instanceof RunInterrupted ? pause.abort() : cancel.abort(signal.reason))),
    onAbort(context.pause, () => pause.abort()),
  ]
  try {
    return await loop(machine, host, {
      journal,
      signal: cancel.signal,
      pause: pause.signal,
      suspend: true,
      cancelGraceMs,
      ...(options.journal?.now !== undefined && { now: options.journal.now }),
      ...(context.isFatal !== undefined && { isFatal: context.isFatal }),
      onEvent: (event) => {
        if (event.type === "token_usage") {
          const { iteration, usage, cumulative } = event
          context.emit({ type: "child_token_usage", sessionId: place.turnId, source: tool, model: config.model, iteration, usage, cumulative })
        }
        return onEvent?.(event, place)
      },
    })
  } catch (error) {
    throw ofRun(error)
  } finally {
    for (const stop of stopWaiting) stop()
    await close()
  }
}

/** An error of the store ends the run of the parent: the next run continues the child, and counts what it used until now. */
function ofRun(error: unknown): unknown {
  return error instanceof JournalStoreError ? endingRun(error) : error
}

/** The owner of the parent's journal owns those of its children: one that does not close is fenced off. */
async function openJournal({ store, name }: ChildPlace, { journal = {} }: ChildRunOptions): Promise<TurnJournal> {
  try {
    return await TurnJournal.open(store, name, { ...journal, waitMs: WAIT_MS })
  } catch (error) {
    if (!(error instanceof JournalStoreError) || error.code !== "in_use") throw error
    return TurnJournal.open(store, name, { ...journal, takeOver: true })
  }
}

type Begun = Pick<OpenChild, "machine" | "parent">

async function resume(journal: TurnJournal, config: TurnConfig, { parent }: ChildHeader, options: ChildRunOptions): Promise<Begun> {
  return { machine: await journal.resume(withLease(config, parent.lease), options.resume), parent }
}

/** Grants the child its tokens, and records both with the beginning of its turn. */
function begin(journal: TurnJournal, { place, config, start }: ChildTurn, { budget, maxOpen }: ChildRunOptions): Promise<Begun> {
  const granted = place.grants?.of(place.parent.effectId).find((grant) => isOf(grant, place.parent))
  // What an earlier process granted stays, also if nothing limits it any more.
  if (granted === undefined && budget?.total === undefined && place.left?.() === undefined && maxOpen === undefined) return beginWith(budget?.tokens)
  return oneByOne(place, async () => {
    if (granted !== undefined) return beginGranted(granted)
    const siblings = await siblingsOf(place)
    if (maxOpen !== undefined && siblings.open >= maxOpen) {
      const message = `The subagent was not started: ${siblings.open} of at most ${maxOpen} run already. Wait for their results.`
      throw new ToolError({ ...childFailure("resource_limit", "child_capacity", message), retry: { type: "safe" } })
    }
    const lease = leaseOf(budget, siblings, place.left?.())
    if (lease !== undefined && lease < 1) {
      const message =
        "The subagent was not started: the token budget of this turn's subagents, of the turn itself or of its goal, is used up, or reserved for those that run."
      throw new ToolError(childFailure("resource_limit", "child_budget", message))
    }
    if (lease === undefined) return beginWith(undefined)
    const { effectId, callId, name } = place.parent
    const grant = { effectId, callId, ...(name !== undefined && { name }), lease }
    // In the journal of the parent, and before the child begins: a process from which the parent was taken could not know what the next one gives away.
    await place.grants?.add(grant)
    return beginGranted(grant)
  })

  async function beginGranted(grant: ChildGrant): Promise<Begun> {
    try {
      return await beginWith(grant.lease)
    } catch (error) {
      // Nothing of it was written, so its call fails. The tokens are free for the others.
      if (!(error instanceof JournalStoreError)) place.grants?.drop(grant)
      throw error
    }
  }

  async function beginWith(lease: number | undefined): Promise<Begun> {
    const parent = { ...place.parent, ...(lease !== undefined && { lease }) }
    forgetEnded(place)
    return { machine: await journal.begin(withLease(config, lease), start, { turnId: place.turnId, parent }), parent }
  }
}

function withLease(config: TurnConfig, lease: number | undefined): TurnConfig {
  return lease === undefined ? config : { ...config, maxTokens: Math.min(lease, config.maxTokens ?? lease) }
}

/** The header of a child's journal. */
type ChildHeader = JournalHeader & { readonly parent: JournalParent }

/** Refuses a journal of another child, which a digest of the same value would lead to. */
function own(header: JournalHeader, { name, turnId }: ChildPlace): ChildHeader {
  const { parent } = header
  if (header.turnId === turnId && parent !== undefined) return { ...header, parent }
  const message = `Journal ${quoted(name)} has another child's turn, so this one was not started.`
  throw new ToolError(childFailure("internal", "child_conflict", message))
}
