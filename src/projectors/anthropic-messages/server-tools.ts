import type { Json } from "../../json.ts"
import type { LlmMessage, LlmRequest, OpaqueBlock } from "../../wire/llm.ts"
import type { Origin } from "../wires/origin.ts"
import { isRecord } from "../wires/values.ts"
import { NAMED } from "./conversation.ts"

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

/**
 * Finds the calls of the provider's own tools that cannot go back, because they have no result, and the results without a call. A call
 * may wait for its result as long as the user says nothing: the provider runs it, or waits itself for the results of other calls.
 * @param originOf who wrote a message
 */
export function unpaired({ messages }: LlmRequest, originOf: (message: LlmMessage) => Origin): ReadonlySet<RawBlock> {
  const waiting = new Map<string, RawBlock>()
  const broken = new Set<RawBlock>()
  for (const message of messages) {
    const { blocks, role } = message
    if (role !== "assistant") {
      if (!blocks.some(({ type }) => type !== "tool_result")) continue
      for (const block of waiting.values()) broken.add(block)
      waiting.clear()
      continue
    }
    const from = originOf(message)
    for (const block of blocks) {
      const raw = block.type === "opaque" ? rawBlock(block, from) : undefined
      if (raw === undefined) continue
      const { id, tool_use_id: call } = raw
      if (typeof call === "string") {
        if (!waiting.delete(call)) broken.add(raw)
      } else if (typeof id === "string" && raw.type.endsWith("_tool_use")) {
        const before = waiting.get(id)
        if (before !== undefined) broken.add(before)
        waiting.set(id, raw)
      }
    }
  }
  return broken
}
