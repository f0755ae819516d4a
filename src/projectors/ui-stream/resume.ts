import type { UiStreamOptions } from "./chunks.ts"
import { type ChunkPosition, cursorText, digested, NO_DIGEST, positionOfCursor } from "./cursor.ts"
import { retraction } from "./live-text.ts"
import { type PlacedChunk, type PositionedChunk, UiStream } from "./ui-stream.ts"

/**
 * Continues a stream after a cursor: folds the events of its turn again, and leaves out the chunks that the client has. If the client was shown text of a model
 * call that was made again since, with another result, the text is retracted first.
 */
export class ResumedUiStream {
  /** The thread's cursor from which the events are read: that before the turn. `undefined`: from the beginning. */
  readonly after: string | undefined
  readonly stream: UiStream
  readonly #known: ChunkPosition
  /** Chunks that the client may have: those that its digest is about. `undefined`: what follows is new. */
  #compared: PositionedChunk[] | undefined = []
  #digest = NO_DIGEST

  /** `undefined` if this is not a cursor of a {@link PlacedChunk}. */
  static of(cursor: string, options: UiStreamOptions = {}): ResumedUiStream | undefined {
    const known = positionOfCursor(cursor)
    return known && new ResumedUiStream(known, options)
  }

  private constructor(known: ChunkPosition, options: UiStreamOptions) {
    this.#known = known
    this.after = known.base === "" ? undefined : known.base
    this.stream = new UiStream(options, known.base)
  }

  /** The id of the turn that is folded. */
  get turnId(): string | undefined {
    return this.stream.turnId
  }

  /** Chunks that the client does not have. */
  unseen(chunks: readonly PositionedChunk[]): readonly PlacedChunk[] {
    return chunks.flatMap((chunk) => this.#unseen(chunk))
  }

  #unseen(placed: PositionedChunk): readonly PlacedChunk[] {
    const compared = this.#compared
    if (compared === undefined) return [placed]
    const { chunk, position, isVoid } = placed
    const { base, settled, count } = this.#known
    if (position.base !== base) return this.#differs([...compared, placed])
    if ("transient" in chunk) return []
    if (isVoid === true) {
      this.#compared = []
      this.#digest = NO_DIGEST
      return []
    }
    if (position.count <= settled) return []
    if (count === settled) {
      this.#compared = undefined
      return [placed]
    }
    return this.#compare(placed, compared)
  }

  /** Compares the texts as soon as they are as long as those of the client. */
  #compare(placed: PositionedChunk, compared: PositionedChunk[]): readonly PlacedChunk[] {
    const { chunk, position, cursor } = placed
    const { count, length, digest } = this.#known
    const isOver = position.count === position.settled
    const before = this.#digest
    this.#digest = isOver ? digested(before, `\0${chunk.type}\0`) : position.digest
    if (position.count === count && "delta" in chunk && position.length >= length) {
      const { delta } = chunk
      const known = length - (position.length - delta.length)
      if (digested(before, delta.slice(0, known)) !== digest) return this.#differs([...compared, placed])
      this.#compared = undefined
      return known === delta.length ? [] : [{ chunk: { ...chunk, delta: delta.slice(known) }, cursor }]
    }
    if (position.count === count && length === 0 && this.#digest === digest) {
      this.#compared = undefined
      return []
    }
    compared.push(placed)
    // A recorded chunk comes after the whole text.
    return isOver || position.count > count ? this.#differs(compared) : []
  }

  /** What the client was shown is void. It has the beginning of the step. */
  #differs(compared: readonly PositionedChunk[]): readonly PlacedChunk[] {
    this.#compared = undefined
    const { count, settled } = this.#known
    if (count === settled) return compared
    const retracted = retraction(this.#known).map(({ chunk, position }) => ({ chunk, cursor: cursorText(position) }))
    return [...retracted, ...(compared[0]?.chunk.type === "start-step" ? compared.slice(1) : compared)]
  }
}
