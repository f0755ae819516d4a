import type { TerminalReason } from "../../wire/llm.ts"

/**
 * The finish reasons of the Chat Completions reference, and the words of other APIs that reach compatible endpoints untranslated.
 * `stop` with calls counts as `tool_use`.
 * @see https://platform.openai.com/docs/api-reference/chat/object (2026-11)
 * @see https://ai.google.dev/api/generate-content#FinishReason (2026-11)
 * @see https://docs.z.ai/api-reference/llm/chat-completion (2026-11)
 * @see https://docs.claude.com/en/api/handling-stop-reasons (2026-11)
 */
const MEANINGS: ReadonlyMap<string, TerminalReason> = new Map(
  Object.entries({
    stop: ["stop", "end_turn", "stop_sequence"],
    tool_use: ["tool_calls", "function_call", "tool_use"],
    paused: ["pause_turn", "compaction"],
    output_limit: ["length", "max_tokens", "max_output_tokens", "model_length"],
    context_overflow: ["model_context_window_exceeded", "context_length_exceeded"],
    content_filter: [
      "content_filter",
      "content_filtered",
      "safety",
      "sensitive",
      "recitation",
      "blocklist",
      "prohibited_content",
      "spii",
      "model_armor",
      "image_safety",
      "image_prohibited_content",
      "image_recitation",
      "guardrail_intervened",
    ],
    refusal: ["refusal"],
    provider_error: [
      "error",
      "abort",
      "aborted",
      "network_error",
      "server_error",
      "insufficient_system_resource",
      "malformed_function_call",
      "unexpected_tool_call",
      "too_many_tool_calls",
      "missing_thought_signature",
      "malformed_response",
    ],
  } satisfies Partial<Record<TerminalReason, readonly string[]>>).flatMap(([meaning, words]) =>
    words.map((word) => [word, meaning as TerminalReason] as const),
  ),
)

/** From the gravest: in a text with several words, the gravest counts. */
const GRAVITY: readonly TerminalReason[] = [
  "provider_error",
  "content_filter",
  "refusal",
  "context_overflow",
  "output_limit",
  "paused",
  "tool_use",
  "stop",
]

/** What a provider's finish reason means: `unknown` for a word that is not known. Looks into texts such as `function_call_filter: MALFORMED_FUNCTION_CALL`. */
export function meaningOf(finishReason: string): TerminalReason {
  const text = finishReason.slice(0, 200).toLowerCase()
  const whole = MEANINGS.get(text)
  if (whole !== undefined) return whole
  const meanings = text.split(/[^a-z_]+/).flatMap((word) => MEANINGS.get(word) ?? [])
  return GRAVITY.find((reason) => meanings.includes(reason)) ?? "unknown"
}

/** Ends that cut an answer off: its last call and its last reasoning may be incomplete. */
export const CUT_OFF: ReadonlySet<TerminalReason> = new Set<TerminalReason>([
  "output_limit",
  "content_filter",
  "context_overflow",
  "provider_error",
  "refusal",
])
