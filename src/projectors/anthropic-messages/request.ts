import type { Json } from "../../json.ts"
import { isBlank } from "../../text.ts"
import type { LlmRequest } from "../../wire/llm.ts"
import { ToolNames } from "../wires/tool-names.ts"
import { isRecord } from "../wires/values.ts"
import { wellFormed } from "../wires/well-formed.ts"
import type { EncodeOptions } from "../wires/wire.ts"
import type { AnthropicBody, AnthropicOutputConfig, AnthropicText, AnthropicThinking } from "./body.ts"
import { marked } from "./cache.ts"
import { containerOf } from "./container.ts"
import { ANTHROPIC_MESSAGES, MessageProjection } from "./messages.ts"
import { rulesOf } from "./model.ts"
import { outputSchema } from "./output-schema.ts"
import { thinkingSettings } from "./thinking.ts"
import { projectTools } from "./tools.ts"

/** What an endpoint and its model accept. */
export interface AnthropicWireOptions {
  /** `max_tokens` where the request has no `generation.maxOutputTokens`: the provider requires one. Default 32,000, less for models before Claude 3.7. */
  readonly maxTokens?: number
  /**
   * How the model thinks. Absent: the model's own default. While it thinks, `temperature` and `topP` are left out and no call is
   * forced, because the provider refuses them. The setting stays the same in a whole tool loop; only if the loop began without signed
   * reasoning, `enabled` is not sent, because the provider wants such reasoning first. A number of thinking tokens is lowered to fit into
   * `max_tokens`.
   */
  readonly thinking?: AnthropicThinking
  /**
   * Whether the model accepts `temperature` and `topP`. Default: by its name. Claude models since Opus 4.7 refuse both, so they are left out;
   * older models and those of compatible endpoints accept them.
   * @see https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-7#sampling-parameters-removed (2026-11)
   */
  readonly sampling?: boolean
  /**
   * Whether the provider enforces the form of the answer (`output_config.format`). Where it does not, or cannot enforce a schema, the model
   * reads the schema after the system prompt. Default: by the model's name; Claude models since Opus 4.1 and Sonnet 4.5.
   * @see https://platform.claude.com/docs/en/build-with-claude/structured-outputs (2026-11)
   */
  readonly structuredOutput?: boolean
  /** Whether reasoning without a signature goes back, for compatible endpoints that do not sign. Default `false`: the provider refuses it. */
  readonly unsignedThinking?: boolean
  /** How long the provider keeps what it caches. Default: five minutes. */
  readonly cacheTtl?: "5m" | "1h"
  /** Further keys for the body. They override ours and those of `generation.providerOptions`. */
  readonly extraBody?: { readonly [key: string]: Json }
}

/**
 * Projects a model request to a Messages body.
 *
 * Whatever a transcript contains, the body is valid: user and assistant take turns and the user begins, no message or text is blank, each
 * call has one result at the beginning of the next message, arguments are an object, names and ids match `[a-zA-Z0-9_-]{1,64}` and ids
 * differ, and no text has half a surrogate pair. Attachments of a result are in the result. Reasoning, citations and blocks of the
 * provider's own go back as they came to the model that wrote them; another model gets only the text of such blocks.
 *
 * The system messages at the beginning are the system prompt; later ones are sent as the user's. An answer at the end is followed by a
 * short message of the user, because the provider refuses to continue an answer, unless one of its own tools runs in it (`paused`).
 *
 * The reasoning effort is that of `generation`, else `modelVariant`; `none` turns thinking off, where the model can do without. Claude models
 * before Opus 4.5 are sent a number of thinking tokens in its place. `seed`, `sessionId` and the output form `json_object` have no key here.
 * @see https://platform.claude.com/docs/en/api/messages/create (2026-11)
 */
export function anthropicRequest(request: LlmRequest, options: AnthropicWireOptions & EncodeOptions = {}): AnthropicBody {
  const { cache = "auto", generation, model } = request
  const rules = rulesOf(model)
  const { cacheTtl, extraBody, maxTokens = rules.maxTokens, stream = false } = options
  const { maxOutputTokens = maxTokens, providerOptions, stopSequences = [] } = generation
  const further: Readonly<Record<string, unknown>> = { ...(isRecord(providerOptions) && providerOptions), ...extraBody }
  const asked = request.outputSpec?.type === "json_schema" ? request.outputSpec.schema : undefined
  const names = new ToolNames(request.tools)
  const projection = new MessageProjection(request, options, names)
  const schema = (options.structuredOutput ?? rules.enforcesOutput) && asked !== undefined ? outputSchema(asked) : undefined
  const system = [...projection.system(), ...(asked !== undefined && schema === undefined ? [formNote(asked)] : [])]
  const messages = projection.messages()
  const limit = Math.max(1, maxOutputTokens)
  const { effort, isAsked, thinking } = thinkingSettings(request, further["thinking"], options.thinking, messages, { maxTokens: limit, rules })
  const stops = stopSequences.filter((text) => !isBlank(text))
  const cached = { ...(system.length > 0 && { system }), messages, ...projectTools(request, names, !isAsked && rules.acceptsForcedCalls) }
  const container = containerOf(request, options, ANTHROPIC_MESSAGES)
  const output = outputConfig(schema, effort, further["output_config"])
  return wellFormed({
    model,
    max_tokens: limit,
    ...cached,
    ...(cache === "auto" && marked(cached, projection.breakpoints, { type: "ephemeral", ...(cacheTtl !== undefined && { ttl: cacheTtl }) })),
    ...((options.sampling ?? rules.acceptsSampling) && !isAsked && sampling(request)),
    ...(stops.length > 0 && { stop_sequences: stops }),
    ...(stream && { stream: true as const }),
    ...(container !== undefined && { container }),
    ...further,
    ...(thinking !== undefined && { thinking: thinking as AnthropicThinking }),
    ...(output !== undefined && { output_config: output }),
  })
}

/** `temperature` is at most 1 here. Several models refuse `top_p` beside it. */
function sampling({ generation: { temperature, topP } }: LlmRequest): Partial<AnthropicBody> {
  if (temperature !== undefined) return { temperature: Math.min(1, temperature) }
  return topP === undefined ? {} : { top_p: topP }
}

/** What a model reads where its provider does not enforce the form of the answer. */
function formNote(schema: Json): AnthropicText {
  return {
    type: "text",
    text: `Answer with nothing but JSON that matches this JSON Schema, without a code fence around it: ${JSON.stringify(schema)}`,
  }
}

function outputConfig(schema: Json | undefined, effort: string | undefined, further: unknown): AnthropicOutputConfig | undefined {
  const config: AnthropicOutputConfig = {
    ...(effort !== undefined && { effort }),
    ...(schema !== undefined && { format: { type: "json_schema" as const, schema } }),
    ...(isRecord(further) && further),
  }
  return Object.keys(config).length === 0 ? undefined : config
}
