/**
 * The checksum of journals beside a CRC-32: npx tsx bench/checksums.ts. Nanoseconds per character, the fastest round and,
 * in brackets, the median ratio to the first row of the same block.
 */
import { canonicalJson } from "../src/json.ts"
import { digest } from "../src/replay/digest.ts"
import { Hash } from "../src/replay/hash.ts"
import { JournalWriter } from "../src/replay/journal.ts"
import { LineReader } from "../src/replay/lines.ts"
import type { JournalRecord } from "../src/schemas/journal.ts"
import { measureRounds } from "./rounds.ts"

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let bits = byte
  for (let bit = 0; bit < 8; bit += 1) bits = bits & 1 ? (bits >>> 1) ^ 0xedb88320 : bits >>> 1
  return bits
})

function step(crc: number, byte: number): number {
  return (crc >>> 8) ^ (TABLE[(crc ^ byte) & 255] as number)
}

/** The CRC-32 of a text's UTF-8, one table lookup a byte: what the package crc-32 does with a string. */
function crc32(text: string, before: number): number {
  let crc = ~before
  for (let index = 0; index < text.length; index += 1) {
    let unit = text.charCodeAt(index)
    if (unit >= 0xd800 && unit < 0xdc00) {
      index += 1
      unit = (unit - 0xd800) * 1_024 + text.charCodeAt(index) - 0xdc00 + 0x10000
      crc = step(crc, 0xf0 | (unit >> 18))
      crc = step(crc, 0x80 | ((unit >> 12) & 63))
      crc = step(crc, 0x80 | ((unit >> 6) & 63))
      crc = step(crc, 0x80 | (unit & 63))
    } else if (unit >= 0x800) {
      crc = step(crc, 0xe0 | (unit >> 12))
      crc = step(crc, 0x80 | ((unit >> 6) & 63))
      crc = step(crc, 0x80 | (unit & 63))
    } else if (unit >= 0x80) {
      crc = step(crc, 0xc0 | (unit >> 6))
      crc = step(crc, 0x80 | (unit & 63))
    } else crc = step(crc, unit)
  }
  return ~crc
}

if (crc32("123456789", 0) !== (0xcbf43926 | 0)) throw new Error("The CRC-32 is wrong.")

const ASCII = "The quick brown fox jumps over the lazy dog; "
const OTHER = "Größe – naïve 文字 🦊 "

/** Answers of a model whose lines have about so many characters. */
function records(length: number, filler: string): readonly JournalRecord[] {
  return Array.from({ length: Math.ceil(100_000 / length) }, (_, id) => {
    const text = filler.repeat(Math.ceil(length / filler.length)).slice(0, Math.max(0, length - 250))
    const parts = [{ type: "tool_call", callId: `c${id}`, toolName: "count", inputJson: '{"n":1}' }] as const
    const usage = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 2, reasoningTokens: 0 }
    return { type: "llm_complete", id, result: { ok: true, response: { text, parts, usage, terminalReason: "tool_use" } } }
  })
}

function lineWithCrc(json: string): string {
  return `["${(crc32("]", crc32(json, crc32("01234567", 0))) >>> 0).toString(16).padStart(8, "0")}",${json}]\n`
}

/** The lines of a journal with another checksum, read as they were before: a slice for each. */
function readWithCrc(text: string): number {
  let crc = 0
  for (let start = 0, end = text.indexOf("\n"); end >= 0; start = end + 1, end = text.indexOf("\n", start)) {
    const line = text.slice(start, end)
    crc = crc32(line.slice(12), crc)
    JSON.parse(line)
  }
  return crc
}

function show(title: string, chars: number, contenders: Readonly<Record<string, () => unknown>>): void {
  const figures = Object.entries(measureRounds(60, chars / 1_000, contenders))
  console.log(`${title}: ${figures.map(([name, { bestUs, ratio }]) => `${name} ${bestUs.toFixed(2)} (${ratio.toFixed(2)})`).join(" · ")}`)
}

for (const [name, length, filler] of [
  ["250 characters", 250, ASCII],
  ["800 characters", 800, ASCII],
  ["800 characters, not ASCII", 800, OTHER],
  ["100,000 characters", 100_000, ASCII],
] as const) {
  const list = records(length, filler)
  const texts = list.map((record) => JSON.stringify(record))
  const writer = new JournalWriter()
  const journal = list.map((record) => writer.line(record)).join("")
  const chars = journal.length
  console.log(`Lines of ${name}, ns per character`)
  show("  text alone ", chars, {
    "CRC-32": () => texts.reduce((crc, text) => crc32(text, crc), 0),
    hash: () => texts.map((text) => new Hash().text(0, text).short()),
  })
  show("  write      ", chars, {
    "CRC-32": () => list.map((record) => lineWithCrc(JSON.stringify(record))),
    hash: () => list.map((record) => writer.line(record)),
  })
  show("  read, parse", chars, { "CRC-32": () => readWithCrc(journal), hash: () => new LineReader(() => undefined).push(journal) })
  show("  fingerprint", chars, {
    "CRC-32 of canonical JSON": () => list.map((record) => crc32(canonicalJson(record as never), 0)),
    hash: () => list.map((record) => digest(record as never)),
  })
}
