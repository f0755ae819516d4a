import { meaningOf } from "../../projectors/wires/finish-reason.ts"
import { isRecord, stringOf } from "../../projectors/wires/values.ts"
import type { TerminalReason } from "../../wire/llm.ts"

/** Why a model stopped: the AI SDK's word, and the provider's own. */
export interface FinishReason {
  readonly unified: string
  readonly raw: string | undefined
}

/** Reads a finish reason: an object, or only the AI SDK's word. `undefined`: there is none. */
export function readReason(value: unknown): FinishReason | undefined {
  if (typeof value === "string") return { unified: value, raw: value }
  if (!isRecord(value) || typeof value["unified"] !== "string") return undefined
  return { unified: value["unified"], raw: stringOf(value["raw"]) || undefined }
}

const MEANINGS: { readonly [unified: string]: TerminalReason } = {
  stop: "stop",
  length: "output_limit",
  "content-filter": "content_filter",
  "tool-calls": "tool_use",
  error: "provider_error",
}

/** What the provider's own word says more exactly than the AI SDK's. */
const FINER: ReadonlySet<TerminalReason> = new Set(["paused", "refusal", "context_overflow"])

/** What a finish reason means. `stop` with calls is a tool use. */
export function reasonOf({ raw, unified }: FinishReason, hasCalls: boolean): TerminalReason {
  const own = raw === undefined ? "unknown" : meaningOf(raw)
  const reason = FINER.has(own) ? own : ((Object.hasOwn(MEANINGS, unified) ? MEANINGS[unified] : undefined) ?? own)
  return reason === "stop" && hasCalls ? "tool_use" : reason
}

const CUT_OFF: ReadonlySet<TerminalReason> = new Set(["output_limit", "content_filter", "context_overflow", "refusal"])

/** Whether an answer with this end is not whole. */
export function isCutOff(reason: TerminalReason): boolean {
  return CUT_OFF.has(reason)
}
