import { readdir } from "node:fs/promises"
import { basename, dirname } from "node:path"
import { TurnError } from "../../errors.ts"
import { readTurn } from "../../hosts/child/turn-tree.ts"
import { isControlName } from "../../hosts/journal/store.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { childrenPrefix } from "../../hosts/run/child-place.ts"
import type { JournalHeader, JournalParent } from "../../wire/journal.ts"
import type { TokenUsage } from "../../wire/usage.ts"
import { outcomeText, tokensText } from "../run/run-screen.ts"
import { oneLine } from "../terminal/format.ts"

/** A child of a turn, whose journal is beside that of its parent. */
export interface ShownChild {
  /** The name of its file. */
  readonly file: string
  readonly turnId?: string
  readonly callId?: string
  /** The tokens that it may use. */
  readonly lease?: number
  /** Its outcome, in words. */
  readonly state: string
  readonly usage?: TokenUsage
}

/** Reads the children of a turn, in the order of their calls. A folder that cannot be listed has none. */
export async function childrenOf(path: string, { turnId }: JournalHeader): Promise<readonly ShownChild[]> {
  const store = fileJournalStore(dirname(path))
  const prefix = childrenPrefix(basename(path))
  const names = await readdir(dirname(path)).catch(() => [])
  const children: (ShownChild & { readonly parent?: JournalParent })[] = []
  for (const file of names.sort()) {
    if (!file.startsWith(prefix) || file.includes(".child-", prefix.length) || isControlName(file)) continue
    try {
      const turn = await readTurn(store, file)
      if (turn?.parent?.turnId !== turnId) continue
      const { parent, outcome, usage } = turn
      const { callId, lease } = parent
      const state = outcome === undefined ? "unfinished" : outcomeText(outcome)
      children.push({ file, turnId: turn.turnId, callId, ...(lease !== undefined && { lease }), state, usage, parent })
    } catch (error) {
      if (!(error instanceof TurnError)) throw error
      children.push({ file, state: "cannot be read" })
    }
  }
  const order = ({ parent }: (typeof children)[number]): number => parent?.effectId ?? Number.POSITIVE_INFINITY
  return children.sort((left, right) => order(left) - order(right) || 0).map(({ parent: _parent, ...child }) => child)
}

/** `call c1: finished, 30 tokens …, run.json.child-2-…`. */
export function childText({ file, callId, state, usage }: ShownChild): string {
  const call = callId === undefined ? "" : `call ${oneLine(callId)}: `
  return `${call}${state}${usage === undefined ? "" : `, ${tokensText(usage)}`}, ${oneLine(file)}`
}

/** `turn T, call c1 of effect 2`. */
export function parentText({ turnId, effectId, callId }: JournalParent): string {
  return `turn ${oneLine(turnId)}, call ${oneLine(callId)} of effect ${effectId}`
}
