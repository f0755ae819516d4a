import { TurnError } from "../../errors.ts"
import { quoted } from "../../text.ts"
import { closed, fenced, type JournalStore, type StoredJournal } from "../journal/store.ts"
import type { StateReader, StateWriter } from "./thread-context.ts"

/** The longest value that is stored under one key, in UTF-16 units. A longer text is stored in several. */
export const MAX_PIECE_CHARS = 64_000

/** How many short pieces are joined. */
const JOINED_PIECES = 32

/** A piece that is at least this long is not joined with others. */
const LONG_PIECE_CHARS = 16_000

/** What is stored under the name of a text. */
type TextHead = {
  /** How many pieces the text has. */
  readonly pieces: number
  /** How many of the last of them are short, and may be joined. */
  readonly short: number
}

/**
 * A journal store in the state of a virtual object: each append is a piece of its own, and short pieces are joined, so that no value is long, and
 * neither a write nor a read costs more than the text. The object is the owner: it has one exclusive handler at a time.
 */
export function objectStore(ctx: StateReader & StateWriter): JournalStore {
  const open = new Map<string, ObjectText>()
  return {
    async open(name: string): Promise<StoredJournal> {
      const pieces = await readPieces(ctx, name)
      const text = new ObjectText(ctx, name, pieces ?? { head: EMPTY, texts: [] }, (own) => open.get(name) === own)
      open.set(name, text)
      return text
    },
    read: (name: string) => readText(ctx, name),
    async *list({ prefix = "" } = {}): AsyncGenerator<string, void, undefined> {
      const keys = await ctx.stateKeys()
      const names = keys.filter((key) => key.startsWith(TEXT)).map((key) => key.slice(TEXT.length))
      yield* names.filter((name) => name.startsWith(prefix)).sort()
    },
    async delete(name: string): Promise<void> {
      const { pieces } = (await ctx.get<TextHead>(headKey(name))) ?? EMPTY
      for (let index = 0; index < pieces; index += 1) ctx.clear(pieceKey(name, index))
      ctx.clear(headKey(name))
      open.delete(name)
    },
  }
}

/** The same texts for a handler that only reads. */
export function readOnlyStore(ctx: StateReader): Pick<JournalStore, "read"> {
  return { read: (name) => readText(ctx, name) }
}

const TEXT = "text:"
const EMPTY: TextHead = { pieces: 0, short: 0 }

function headKey(name: string): string {
  return `${TEXT}${name}`
}

function pieceKey(name: string, index: number): string {
  return `piece:${index}:${name}`
}

/** A thread of which the state of its object has only a part. */
export class ThreadStateError extends TurnError<"state_lost"> {}

function stateLost(name: string, index: number): ThreadStateError {
  return new ThreadStateError(
    "state_lost",
    `The state of the object has no piece ${index} of ${quoted(name)}: it was cleared, or a part of it was. ` +
      "Restore it, or clear the whole state of the object: the thread then begins anew. What has arrived since is in its inbox.",
  )
}

interface Pieces {
  readonly head: TextHead
  readonly texts: readonly string[]
}

async function readPieces(ctx: StateReader, name: string): Promise<Pieces | undefined> {
  const head = await ctx.get<TextHead>(headKey(name))
  if (head === null) return undefined
  const texts: string[] = []
  for (let index = 0; index < head.pieces; index += 1) {
    const piece = await ctx.get<string>(pieceKey(name, index))
    if (piece === null) throw stateLost(name, index)
    texts.push(piece)
  }
  return { head, texts }
}

async function readText(ctx: StateReader, name: string): Promise<AsyncIterable<string> | undefined> {
  const found = await readPieces(ctx, name)
  return found && partsOf(found.texts)
}

async function* partsOf(texts: readonly string[]): AsyncGenerator<string, void, undefined> {
  yield* texts.slice()
}

class ObjectText implements StoredJournal {
  readonly #ctx: StateReader & StateWriter
  readonly #name: string
  readonly #isOwner: (text: ObjectText) => boolean
  #texts: string[]
  #short: number
  #isClosed = false

  constructor(ctx: StateReader & StateWriter, name: string, { head, texts }: Pieces, isOwner: (text: ObjectText) => boolean) {
    this.#ctx = ctx
    this.#name = name
    this.#texts = [...texts]
    this.#short = head.short
    this.#isOwner = isOwner
  }

  async *read(): AsyncGenerator<string, void, undefined> {
    this.#check()
    yield* partsOf(this.#texts)
  }

  async append(text: string): Promise<void> {
    this.#check()
    if (this.#short >= JOINED_PIECES) this.#join()
    for (const piece of piecesOf(text)) {
      this.#set(this.#texts.length, piece)
      this.#short = piece.length < LONG_PIECE_CHARS ? this.#short + 1 : 0
    }
    this.#setHead()
  }

  async replace(text: string | AsyncIterable<string>): Promise<void> {
    this.#check()
    let whole = ""
    if (typeof text === "string") whole = text
    else for await (const part of text) whole += part
    this.#check()
    this.#setFrom(0, whole)
    this.#setHead()
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }

  #join(): void {
    const from = this.#texts.length - this.#short
    this.#setFrom(from, this.#texts.slice(from).join(""))
  }

  /** Replaces all pieces from an index by those of a text. */
  #setFrom(from: number, text: string): void {
    const before = this.#texts.length
    this.#texts = this.#texts.slice(0, from)
    for (const piece of piecesOf(text)) this.#set(this.#texts.length, piece)
    for (let index = this.#texts.length; index < before; index += 1) this.#ctx.clear(pieceKey(this.#name, index))
    this.#short = 0
  }

  #set(index: number, piece: string): void {
    this.#texts[index] = piece
    this.#ctx.set(pieceKey(this.#name, index), piece)
  }

  #setHead(): void {
    this.#ctx.set<TextHead>(headKey(this.#name), { pieces: this.#texts.length, short: this.#short })
  }

  #check(): void {
    if (this.#isClosed) throw closed(this.#name)
    if (!this.#isOwner(this)) throw fenced(this.#name)
  }
}

/** A text in pieces that can be stored. None ends within a surrogate pair. */
export function piecesOf(text: string): readonly string[] {
  const pieces: string[] = []
  for (let from = 0; from < text.length; ) {
    let to = Math.min(text.length, from + MAX_PIECE_CHARS)
    if (to < text.length && isHighSurrogate(text.charCodeAt(to - 1))) to -= 1
    pieces.push(text.slice(from, to))
    from = to
  }
  return pieces
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}
