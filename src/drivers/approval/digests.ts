import { sha256 } from "@noble/hashes/sha2.js"
import { canonicalJson, type Json } from "../../json.ts"
import type { GrantKey, HeldCall } from "../../wire/approval.ts"
import type { PendingToolCall, ToolSpec } from "../../wire/tool.ts"

/** Incremented when the content of a digest changes. */
const DIGEST_VERSION = 1

const known = new WeakMap<ToolSpec, string>()

/**
 * Returns the digest of a tool as the model was shown it: SHA-256 of its canonical JSON, in hex. It changes with the tool's description or a
 * schema. `undefined` (a tool that the request did not show) has the digest of null.
 */
export function toolDigest(tool: ToolSpec | undefined): string {
  if (tool === undefined) return NO_TOOL
  let digest = known.get(tool)
  if (digest === undefined) {
    digest = digestOf(tool)
    known.set(tool, digest)
  }
  return digest
}

/**
 * Returns what identifies a held call: SHA-256 of the canonical JSON `[1, toolName, toolDigest, args]`, in hex. `tool`: as the model was shown
 * it.
 */
export function callDigest({ toolName, args }: Pick<PendingToolCall, "toolName" | "args">, tool: ToolSpec | undefined): string {
  return digestOf([DIGEST_VERSION, toolName, toolDigest(tool), args])
}

/**
 * Whether the tool of a held call has another description or schema than when a person was asked about it, or is missing. A turn continues
 * with the tools that its model was shown, so a host checks its own tools before it records an approval or an edit.
 */
export function isToolChanged(call: HeldCall, tools: readonly ToolSpec[]): boolean {
  return (
    callDigest(
      call,
      tools.find(({ name }) => name === call.toolName),
    ) !== call.digest
  )
}

/** Returns the key of the grants that reach calls of a tool. */
export function grantKey(toolName: string, tool: ToolSpec | undefined): GrantKey {
  return { toolName, toolDigest: toolDigest(tool) }
}

function digestOf(value: Json): string {
  let hex = ""
  for (const byte of sha256(utf8(canonicalJson(value)))) hex += HEX[byte]
  return hex
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** Encodes a text without a lone surrogate, as JSON is. `TextEncoder` is not part of ECMAScript. */
function utf8(text: string): Uint8Array {
  const bytes = new Uint8Array(3 * text.length)
  let length = 0
  for (let index = 0; index < text.length; index += 1) {
    const code = text.codePointAt(index) as number
    if (code > 0xffff) index += 1
    if (code < 0x80) bytes[length++] = code
    else {
      const more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3
      bytes[length++] = (LEAD[more] as number) | (code >> (6 * more))
      for (let left = more - 1; left >= 0; left -= 1) bytes[length++] = 0x80 | ((code >> (6 * left)) & 0x3f)
    }
  }
  return bytes.subarray(0, length)
}

/** The first byte of a character that has so many more. */
const LEAD = [0, 0xc0, 0xe0, 0xf0]

const NO_TOOL = digestOf(null)
