import { addUsage } from "../../machine/limits.ts"
import type { Outcome } from "../../wire/event.ts"
import type { JournalHeader, JournalParent } from "../../wire/journal.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import { journalReader } from "../journal/parts.ts"
import type { JournalStore } from "../journal/store.ts"
import { childrenPrefix } from "../run/child-place.ts"
import { callKey, UsageCount } from "./turn-usage.ts"

/** A turn with its children, as their journals have them. */
export interface TurnNode {
  /** The name of its journal. */
  readonly name: string
  readonly turnId: string
  /** The call that it runs for; absent for a turn that is not a child. */
  readonly parent?: JournalParent
  /** How it ended; `undefined` while it is open. */
  readonly outcome: Outcome | undefined
  /** The tokens that the turn counts: its own, and those of children whose results it has. */
  readonly usage: TokenUsage
  /** The tokens of the turn and of all turns below it, each counted once. */
  readonly total: TokenUsage
  /** In the order of their names. */
  readonly children: readonly TurnNode[]
}

/**
 * Reads a turn and its children, and their children. Opens no journal, also not of turns that run. `undefined`: there is no such journal.
 *
 *     const tree = await turnTree(store, "turn-1")
 *     console.log(tree?.total.outputTokens, tree?.children.length)
 *
 * @throws {JournalStoreError} `unavailable`
 * @throws {JournalError} a journal is damaged
 */
export async function turnTree(store: Pick<JournalStore, "list" | "read">, name: string): Promise<TurnNode | undefined> {
  const turn = await readTurn(store, name)
  if (turn === undefined) return undefined
  const prefix = childrenPrefix(name)
  const children: TurnNode[] = []
  let { usage: total } = turn
  for await (const found of store.list({ prefix })) {
    if (found.includes(".child-", prefix.length)) continue
    const child = await turnTree(store, found)
    if (child?.parent?.turnId !== turn.turnId) continue
    children.push(child)
    const { detached, effectId, callId } = child.parent
    const isCounted = detached === undefined && (turn.countedCalls.has(callKey(effectId, callId)) || turn.hasPassed(child))
    total = addUsage(total, isCounted ? below(child) : child.total)
  }
  const { turnId, parent, outcome, usage } = turn
  return { name, turnId, ...(parent !== undefined && { parent }), outcome, usage, total, children }
}

/** What the turns below a turn used and it does not count. */
function below({ total, usage }: TurnNode): TokenUsage {
  return {
    inputTokens: total.inputTokens - usage.inputTokens,
    cachedInputTokens: total.cachedInputTokens - usage.cachedInputTokens,
    outputTokens: total.outputTokens - usage.outputTokens,
    reasoningTokens: total.reasoningTokens - usage.reasoningTokens,
  }
}

/** One turn, without its children. */
export interface ReadTurn extends Pick<TurnNode, "turnId" | "parent" | "outcome" | "usage"> {
  readonly countedCalls: ReadonlySet<string>
  /** Whether a compaction removed the records with the result of an ended child. */
  hasPassed(child: Pick<TurnNode, "parent" | "outcome">): boolean
}

/** Reads one turn from its journal; `undefined`: there is none, or it ends in its first line. @throws as {@link turnTree} */
export async function readTurn(store: Pick<JournalStore, "read">, name: string): Promise<ReadTurn | undefined> {
  const parts = await store.read(name)
  if (parts === undefined) return undefined
  const reader = journalReader()
  const count = new UsageCount()
  let outcome: Outcome | undefined
  let firstOpen = 0
  const read = (): void => {
    for (const { record } of reader.take()) {
      count.add(record)
      if (record.type === "end") outcome = record.outcome
      if (record.type === "snapshot" && firstOpen === 0) {
        const { state, nextEffectId } = record.checkpoint
        firstOpen = state.type === "waiting_tools" ? state.outstanding.id : nextEffectId
      }
    }
  }
  for await (const part of parts) {
    reader.push(part)
    read()
  }
  if (reader.isUnfinishedHeader) return undefined
  const { header } = reader.end()
  read()
  const { turnId, parent, dropped = 0 } = header
  return {
    turnId,
    ...(parent !== undefined && { parent }),
    outcome,
    usage: count.usage,
    countedCalls: count.countedCalls,
    hasPassed: (child) => dropped > 0 && child.outcome !== undefined && (child.parent?.effectId ?? 0) < firstOpen,
  }
}

/** Reads the header of a journal, and no more than it has to; `undefined`: there is no whole one. @throws as {@link turnTree} */
export async function readHeader(store: Pick<JournalStore, "read">, name: string): Promise<JournalHeader | undefined> {
  const reader = journalReader()
  for await (const part of (await store.read(name)) ?? []) {
    reader.push(part)
    if (reader.header !== undefined) return reader.header
  }
  return undefined
}
