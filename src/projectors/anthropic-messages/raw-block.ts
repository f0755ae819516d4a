import type { Json } from "../../json.ts"
import type { OpaqueBlock } from "../../wire/llm.ts"
import type { Origin } from "../wires/origin.ts"
import { isRecord } from "../wires/values.ts"
import type { AnthropicBlock } from "./body.ts"

/** The types of the blocks that the wire itself makes. Any other is of the provider's own. */
export const NAMED: ReadonlySet<string> = new Set<AnthropicBlock["type"]>([
  "text",
  "image",
  "document",
  "tool_use",
  "tool_result",
  "thinking",
  "redacted_thinking",
])

/** A block of the provider's own, as it sent it. */
export interface RawBlock {
  readonly type: string
  readonly [key: string]: Json
}

/** The provider's names for its own blocks. A block of an unknown producer goes back only if it has one of them. */
const KINDS = /^(?:server_tool_use|mcp_tool_use|[a-z_]{1,60}_tool_result|compaction|container_upload)$/

/** Returns the block as its provider sent it; `undefined` if another provider wrote it. */
export function rawBlock({ data, kind }: OpaqueBlock, from: Origin): RawBlock | undefined {
  if (from === "other" || !isRecord(data) || data["type"] !== kind || kind === "" || NAMED.has(kind)) return undefined
  return from === "same" || KINDS.test(kind) ? (data as RawBlock) : undefined
}
