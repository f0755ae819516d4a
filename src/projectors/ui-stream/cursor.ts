/**
 * How far the chunks of a turn go. Chunks are counted as a replay gives them: deltas, transient parts and what was retracted do not count. The text of
 * a model call that is not complete may be retracted, so it is described apart.
 */
export interface ChunkPosition {
  /** The thread's cursor before the turn; "" at the beginning of the thread. */
  readonly base: string
  /** The chunks that are recorded. */
  readonly settled: number
  /** The chunks with those of the text that is not complete. */
  readonly count: number
  /** The characters of the block that is open; 0 without one. */
  readonly length: number
  /** A digest of the chunks and texts after `settled`. */
  readonly digest: number
  /** How many blocks they have. */
  readonly blocks: number
  /** What the last of them is, if it is open. */
  readonly open: BlockKind | undefined
}

/** A run of text, or of reasoning. */
export type BlockKind = "text" | "reasoning"

/** The digest of nothing. FNV-1a, which is cheap to continue character by character. It detects a changed text. It does not stop deliberate collisions. */
export const NO_DIGEST = 0x811c9dc5

export function digested(digest: number, text: string): number {
  let value = digest
  for (let index = 0; index < text.length; index += 1) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0
  return value
}

export function settledAt(base: string, settled: number): ChunkPosition {
  return { base, settled, count: settled, length: 0, digest: NO_DIGEST, blocks: 0, open: undefined }
}

/** A position as printable ASCII without spaces. */
export function cursorText({ base, settled, count, length, digest, blocks, open }: ChunkPosition): string {
  const place = `${base === "" ? "0" : base}.${settled}`
  return count === settled ? place : `${place}.${count}.${length}.${digest.toString(36)}.${blocks}${open === undefined ? "" : open.charAt(0)}`
}

const CURSOR = /^(0|[0-9a-f]{8}-[0-9a-z]{1,200})\.(\d{1,15})(?:\.(\d{1,15})\.(\d{1,15})\.([0-9a-z]{1,7})\.(\d{1,15})([tr]?))?$/

/** The position of a cursor; `undefined`: it is not one. */
export function positionOfCursor(cursor: string): ChunkPosition | undefined {
  const [, base, settled, count, length, digest, blocks, open] = CURSOR.exec(cursor) ?? []
  if (base === undefined) return undefined
  const known = settledAt(base === "0" ? "" : base, Number(settled))
  if (count === undefined) return known
  const kind = open === "t" ? "text" : open === "r" ? "reasoning" : undefined
  return { ...known, count: Number(count), length: Number(length), digest: Number.parseInt(digest ?? "", 36), blocks: Number(blocks), open: kind }
}
