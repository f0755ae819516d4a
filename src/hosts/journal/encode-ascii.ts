import type { AsciiText, EncodeAscii } from "../../replay/hash.ts"

/** The longest text that is encoded, in characters. */
const MOST_CHARS = 2 ** 20

const encoder = new TextEncoder()
const isLittleEndian = new Uint8Array(Int32Array.of(1).buffer)[0] === 1

class Memory implements AsciiText {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly words: Int32Array
  length = 0

  constructor(chars: number) {
    const buffer = new ArrayBuffer(4 * Math.ceil(chars / 4))
    this.bytes = new Uint8Array(buffer)
    this.words = new Int32Array(buffer)
  }
}

let memory = new Memory(2 ** 14)

/** Encodes a text of ASCII characters into one buffer for all texts, so that its checksum takes less time than with `charCodeAt`. */
export const encodeAscii: EncodeAscii = (text) => {
  const { length } = text
  if (length > MOST_CHARS || !isLittleEndian) return undefined
  if (memory.bytes.length < length) memory = new Memory(Math.min(2 * length, MOST_CHARS))
  const { read, written } = encoder.encodeInto(text, memory.bytes)
  memory.length = length
  return read === length && written === length ? memory : undefined
}
