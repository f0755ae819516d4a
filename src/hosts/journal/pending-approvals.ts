import { JournalError, TurnError } from "../../errors.ts"
import { undecidedCalls } from "../../machine/held.ts"
import { batchAfter, type OpenBatch } from "../../replay/open-batch.ts"
import type { ExternalCall, HeldCall } from "../../wire/approval.ts"
import type { JournalHeader, JournalParent } from "../../wire/journal.ts"
import { journalReader, lastLine } from "./parts.ts"
import type { JournalStore, ListOptions } from "./store.ts"

/** An open turn with calls that wait for a person, or that continue outside. */
export interface PendingApproval {
  /** The name of its journal. */
  readonly name: string
  /** A request is unique among all turns together with it. */
  readonly turnId: string
  /** The call that the turn runs for, if it is the child of another turn. */
  readonly parent?: JournalParent
  /** The calls that wait for a decision. */
  readonly held: readonly HeldCall[]
  /** The calls that continue outside. */
  readonly pending: readonly ExternalCall[]
  /** When the calls were asked for. Milliseconds since the epoch; absent if the journal does not say. */
  readonly since?: number
  readonly error?: undefined
}

/** A journal that cannot be read. */
export interface UnreadableJournal {
  readonly name: string
  readonly error: Error
}

/** Options of {@link pendingApprovals}. */
export interface PendingApprovalsOptions extends ListOptions {}

/**
 * Lists the open turns of a store that have held calls without a decision, or calls that continue outside, in the order of their names. Reads the
 * journals without opening them, also those that another process runs: such a turn may have decided since. Nothing is written.
 *
 *     for await (const turn of pendingApprovals(store))
 *       if (turn.error === undefined) for (const call of turn.held) console.log(turn.name, call.requestId, call.toolName)
 *
 * Of a turn that has ended, only the last line of its journal is looked at. Of any other, one part of its text is in memory at a time, and
 * the calls that are held. A journal that is damaged is listed with its `error`. Other texts in the store, such as the log of a thread, are left out.
 * @throws {JournalStoreError} `unavailable`: the journals cannot be listed
 */
export async function* pendingApprovals(
  store: Pick<JournalStore, "list" | "read">,
  options: PendingApprovalsOptions = {},
): AsyncGenerator<PendingApproval | UnreadableJournal, void, undefined> {
  for await (const name of store.list(options)) {
    try {
      const found = await pendingIn(store, name)
      if (found !== undefined) yield found
    } catch (error) {
      if (!(error instanceof TurnError)) throw error
      yield { name, error }
    }
  }
}

/** The calls of one turn that wait; `undefined` if there are none, or no such journal. @throws {JournalError} it is damaged */
export async function pendingIn(store: Pick<JournalStore, "read">, name: string): Promise<PendingApproval | undefined> {
  const text = await store.read(name)
  if (text === undefined || END.test(await lastLine(text))) return undefined
  const parts = await store.read(name)
  const found = parts && (await openBatchIn(parts))
  if (found?.batch === undefined || found.batch.isComplete) return undefined
  const { header, batch } = found
  const held = undecidedCalls(batch.state)
  const { pending } = batch.state
  if (held.length === 0 && pending.length === 0) return undefined
  return {
    name,
    turnId: header.turnId,
    ...(header.parent !== undefined && { parent: header.parent }),
    held,
    pending,
    ...(batch.since !== undefined && { since: batch.since }),
  }
}

interface FoundBatch {
  readonly header: JournalHeader
  readonly batch: OpenBatch | undefined
}

/** The batch that a journal ends in. `undefined`: the text is not a journal, or has no records. @throws {JournalError} it is damaged */
async function openBatchIn(parts: AsyncIterable<string>): Promise<FoundBatch | undefined> {
  const reader = journalReader()
  let batch: OpenBatch | undefined
  let beginning = ""
  try {
    for await (const part of parts) {
      if (beginning.length < BEGINNING_CHARS) beginning += part.slice(0, BEGINNING_CHARS)
      reader.push(part)
      batch = batchAfter(batch, reader.take())
    }
    if (reader.isUnfinishedHeader) return undefined
    const { header, entries } = reader.end()
    return { header, batch: batchAfter(batch, entries) }
  } catch (error) {
    if (error instanceof JournalError && error.code === "not_a_journal" && !beginning.includes(FORMAT)) return undefined
    throw error
  }
}

const FORMAT = '"format":"turn-machine/journal"'
const BEGINNING_CHARS = 100

/** The last line of a journal whose turn has ended. */
export const END: RegExp = /^\["[0-9a-f]{8}",\{"type":"end",/
