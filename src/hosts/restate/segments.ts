/** A turn in the state of a virtual object: what a longer turn adds is stored in new pieces, and earlier pieces stay as they are. */

import type { TurnConfig } from "../../machine/config.ts"
import type { TurnMachine as PureTurnMachine } from "../../machine/turn-machine.ts"
import { quoted } from "../../text.ts"
import { TurnMachine } from "../../validated-turn-machine.ts"
import type { TurnCheckpoint } from "../../wire/checkpoint.ts"
import type { RestateObjectContext, RestateSdk } from "./context.ts"
import { turnError } from "./entries.ts"
import { checkTurnId } from "./ids.ts"

/** The length of a piece, in characters. Restate sends and stores each value as a whole. */
const PIECE_CHARS = 64_000

/** The lists of a checkpoint that only grow, mostly. The rest of it is small. */
const LISTS = ["messages", "events"] as const

type ListName = (typeof LISTS)[number]

/** How many pieces a stored turn has. */
interface Head {
  readonly rest: number
  readonly messages: readonly number[]
  readonly events: readonly number[]
}

/** What the state holds of a turn: the text of its lists, cut where the pieces are. */
interface StoredTurn {
  readonly head: Head
  readonly texts: { readonly [List in ListName]: string }
}

/** The messages and events that a turn begins with, and that are stored elsewhere. */
export interface KnownHistory {
  readonly messages: TurnCheckpoint["messages"]
  readonly events: TurnCheckpoint["events"]
}

const NO_HISTORY: KnownHistory = { messages: [], events: [] }

const STORED = new WeakMap<PureTurnMachine, StoredTurn>()

/** No key of one turn is that of another: a space in the id is escaped. */
const headKey = (turnId: string): string => `turn ${turnId.replace(/[% ]/g, encodeURIComponent)}`

const pieceKey = (turnId: string, list: ListName | "rest", index: number): string => `${headKey(turnId)} ${list} ${index}`

/**
 * Restores a turn that `restateTurn` with `segment` stored in the state of the object. `undefined`: there is none.
 * @throws {CheckpointError} the code of the turn changed, as in `TurnMachine.restore`
 * @throws {TerminalError} `segment_lost`: a piece of it is missing; `invalid_turn_id`
 */
export async function restoreSegment(
  sdk: RestateSdk,
  ctx: Pick<RestateObjectContext, "get">,
  config: TurnConfig,
  turnId: string,
  history: KnownHistory = NO_HISTORY,
): Promise<PureTurnMachine | undefined> {
  checkTurnId(sdk, turnId)
  const head = await ctx.get<Head>(headKey(turnId))
  if (head === null) return undefined
  const read = async (list: ListName | "rest", count: number): Promise<string> => {
    const pieces: string[] = []
    for (let index = 0; index < count; index += 1) {
      const piece = await ctx.get<string>(pieceKey(turnId, list, index))
      if (piece === null)
        throw turnError(
          sdk,
          "segment_lost",
          `The state has no piece ${index} of the ${list} of turn ${quoted(turnId)}. Do not clear keys that begin with ${quoted(headKey(turnId))}.`,
        )
      pieces.push(piece)
    }
    return pieces.join("")
  }
  const texts = { messages: await read("messages", head.messages.length), events: await read("events", head.events.length) }
  const rest = JSON.parse(await read("rest", head.rest)) as Omit<TurnCheckpoint, ListName>
  const machine = TurnMachine.restore(config, {
    ...rest,
    messages: [...history.messages, ...itemsOf(texts.messages)],
    events: [...history.events, ...itemsOf(texts.events)],
  })
  STORED.set(machine, { head, texts })
  return machine
}

/** Stores a turn. Of a list that has grown, only what is new is written. */
export function storeSegment(
  ctx: RestateObjectContext,
  machine: PureTurnMachine,
  turnId: string,
  known: { readonly messages: number; readonly events: number } = { messages: 0, events: 0 },
): void {
  const { messages, events, ...rest } = machine.checkpoint()
  const stored = STORED.get(machine)
  const texts = { messages: textOf(messages.slice(known.messages)), events: textOf(events.slice(known.events)) }
  const restPieces = cut(JSON.stringify(rest))
  for (const [index, piece] of restPieces.entries()) ctx.set(pieceKey(turnId, "rest", index), piece)
  for (let index = restPieces.length; index < (stored?.head.rest ?? 0); index += 1) ctx.clear(pieceKey(turnId, "rest", index))
  const head: Head = {
    rest: restPieces.length,
    messages: storeList(ctx, turnId, "messages", texts.messages, stored),
    events: storeList(ctx, turnId, "events", texts.events, stored),
  }
  ctx.set(headKey(turnId), head)
  STORED.set(machine, { head, texts })
}

/** Removes what is stored of a turn that has ended. */
export function clearSegment(ctx: RestateObjectContext, machine: PureTurnMachine, turnId: string): void {
  const stored = STORED.get(machine)
  if (stored === undefined) return
  for (let index = 0; index < stored.head.rest; index += 1) ctx.clear(pieceKey(turnId, "rest", index))
  for (const list of LISTS) for (const index of stored.head[list].keys()) ctx.clear(pieceKey(turnId, list, index))
  ctx.clear(headKey(turnId))
  STORED.delete(machine)
}

/** Returns the lengths of all pieces of the list. */
function storeList(ctx: RestateObjectContext, turnId: string, list: ListName, text: string, stored: StoredTurn | undefined): readonly number[] {
  const known = stored?.texts[list] ?? ""
  // A compaction replaces the transcript: nothing of it stays as it was.
  const isLonger = text.startsWith(known)
  const lengths = isLonger ? (stored?.head[list] ?? []).slice() : []
  for (const piece of cut(isLonger ? text.slice(known.length) : text)) {
    ctx.set(pieceKey(turnId, list, lengths.length), piece)
    lengths.push(piece.length)
  }
  for (let index = lengths.length; index < (stored?.head[list].length ?? 0); index += 1) ctx.clear(pieceKey(turnId, list, index))
  return lengths
}

/** One item a line. */
function textOf(items: readonly unknown[]): string {
  return items.map((item) => `${JSON.stringify(item)}\n`).join("")
}

function itemsOf(text: string): readonly never[] {
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as never]))
}

/** Pieces of bounded length. None ends within a surrogate pair: a lone half has no JSON form of its own. */
function cut(text: string): readonly string[] {
  const pieces: string[] = []
  for (let from = 0; from < text.length; ) {
    let to = Math.min(text.length, from + PIECE_CHARS)
    const last = text.charCodeAt(to - 1)
    if (to < text.length && last >= 0xd800 && last <= 0xdbff) to -= 1
    pieces.push(text.slice(from, to))
    from = to
  }
  return pieces
}
