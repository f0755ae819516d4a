import type { Block } from "./blocks.ts"
import type { UiChunk } from "./chunks.ts"
import { type BlockKind, type ChunkPosition, digested, NO_DIGEST, settledAt } from "./cursor.ts"

/** A chunk with its position. `isVoid`: it ends or retracts a text, and is not in a replay. */
export interface Written {
  readonly chunk: UiChunk
  readonly position: ChunkPosition
  readonly isVoid?: true
}

/** Text that a page was shown and that no record confirms yet: the chunks of one model call. */
export class LiveText {
  readonly effectId: number
  readonly #base: string
  readonly #settled: number
  readonly #blocks: { readonly kind: BlockKind; readonly id: string; text: string }[] = []
  #count: number
  #digest = NO_DIGEST
  #isOpen = false

  /** `settled`: the chunks of the turn before. */
  constructor(effectId: number, base: string, settled: number) {
    this.effectId = effectId
    this.#base = base
    this.#settled = settled
    this.#count = settled
  }

  /** Counts the beginning of the step. `isSent`: the page has it already. */
  startStep(isSent: boolean): readonly Written[] {
    const written = this.#counted({ type: "start-step" })
    return isSent ? [] : [written]
  }

  /** Shows more text. */
  append(kind: BlockKind, delta: string): readonly Written[] {
    const written: Written[] = []
    if (!this.#isOpen || this.#blocks.at(-1)?.kind !== kind) {
      written.push(...this.#end())
      const id = blockId(kind, this.#count + 1)
      this.#blocks.push({ kind, id, text: "" })
      this.#isOpen = true
      written.push(this.#counted({ type: `${kind}-start`, id }))
    }
    const block = this.#blocks.at(-1)
    if (block === undefined) return written
    block.text += delta
    this.#digest = digested(this.#digest, delta)
    written.push({ chunk: { type: `${kind}-delta`, id: block.id, delta }, position: this.position })
    return written
  }

  /** Whether the page has been shown the beginning of these blocks, and nothing else. */
  begins(blocks: readonly Block[]): boolean {
    const last = this.#blocks.length - 1
    return this.#blocks.every(({ kind, text }, index) => {
      const block = blocks[index]
      return block !== undefined && block.kind === kind && (index < last || !this.#isOpen ? block.text === text : block.text.startsWith(text))
    })
  }

  /** Shows what is left of the blocks that {@link begins} allowed. */
  complete(blocks: readonly Block[]): readonly Written[] {
    const written: Written[] = []
    for (const [index, { kind, text }] of blocks.entries()) {
      if (index < this.#blocks.length - 1) continue
      const shown = this.#blocks[index]?.text.length ?? 0
      if (shown < text.length) written.push(...this.append(kind, text.slice(shown)))
      if (index < blocks.length - 1) written.push(...this.#end())
    }
    return [...written, ...this.#end()]
  }

  /** Retracts all that was shown. */
  retract(): readonly Written[] {
    return retraction(this.position)
  }

  #end(): readonly Written[] {
    const block = this.#blocks.at(-1)
    if (block === undefined || !this.#isOpen) return []
    this.#isOpen = false
    return [this.#counted({ type: `${block.kind}-end`, id: block.id })]
  }

  #counted(chunk: UiChunk): Written {
    this.#count += 1
    this.#digest = digested(this.#digest, `\0${chunk.type}\0`)
    return { chunk, position: this.position }
  }

  /** The place after what was shown. */
  get position(): ChunkPosition {
    const block = this.#isOpen ? this.#blocks.at(-1) : undefined
    const length = block?.text.length ?? 0
    const counted = { settled: this.#settled, count: this.#count, digest: this.#digest }
    return { base: this.#base, ...counted, length, blocks: this.#blocks.length, open: block?.kind }
  }
}

/** The id of a block: its kind, and the number of its first chunk in the turn. */
function blockId(kind: BlockKind, number: number): string {
  return `${kind}-${number}`
}

/** The chunks that end the open block of a page, and declare the texts void that no record confirms. */
export function retraction(known: ChunkPosition): readonly Written[] {
  const { base, settled, count, blocks, open, digest } = known
  const written: Written[] = []
  // The last chunk that counts is the beginning of the open block. What follows has another digest, so a client that receives no more is sent the mark.
  if (open !== undefined)
    written.push({
      chunk: { type: `${open}-end`, id: blockId(open, count) },
      position: { ...known, length: 0, open: undefined, digest: (digest ^ 1) >>> 0 },
      isVoid: true,
    })
  if (blocks > 0) written.push({ chunk: { type: "data-retracted", data: { parts: blocks } }, position: settledAt(base, settled), isVoid: true })
  return written
}
