import type { Json } from "../../json.ts"
import { isBlank, NO_RESULT, strayResultText } from "../../text.ts"
import type { LlmMessage, LlmRequest, ToolResultBlock } from "../../wire/llm.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { NOTHING_SHOWN, resultText, shownBy } from "../wires/attachments.ts"
import { Conversation } from "../wires/conversation.ts"
import { joinTexts } from "../wires/join-texts.ts"
import { openAiModelRules } from "../wires/openai-models.ts"
import { originOf } from "../wires/origin.ts"
import { shortHash } from "../wires/short-hash.ts"
import { ToolNames } from "../wires/tool-names.ts"
import { openAiParameters } from "../wires/tool-schema.ts"
import { isRecord } from "../wires/values.ts"
import { wellFormed } from "../wires/well-formed.ts"
import { answerItems } from "./answer-items.ts"
import { ContentProjection, inputText, type ShownByResult } from "./attachments.ts"
import type { OpenAiResponsesBody, ResponsesContent, ResponsesFormat, ResponsesItem, ResponsesResult, ResponsesTool } from "./body.ts"
import { SentIds } from "./ids.ts"
import { OPENAI_RESPONSES, type ResponsesRequestOptions } from "./options.ts"

/** OpenAI refuses a smaller `max_output_tokens`. */
const LEAST_OUTPUT_TOKENS = 16
const LONGEST_CACHE_KEY = 64

/**
 * Projects a model request to a Responses body.
 *
 * Nothing is stored at the provider (`store: false`): every request has the whole conversation, with the encrypted reasoning of the model.
 * The items of an answer go back to the model that wrote it as they were: messages with their id, phase and annotations, reasoning with
 * its id, summary and encrypted content, items of the provider's own tools raw. Another model gets the texts and calls only, and the
 * text of what it would not understand. Encrypted reasoning without a producer counts as the endpoint's own.
 *
 * Whatever a transcript contains, the body is valid: arguments are the text of a JSON object, names match `[a-zA-Z0-9_-]{1,64}` (see
 * `toolNames` of the wire), every call has one result and every result a call, ids fit and differ, no reasoning is without the item after
 * it, and no text has half a surrogate pair. A result has its images and files in it, in order.
 *
 * The reasoning effort is that of `generation`, else `modelVariant`. Temperature and `topP` are left out where the model reasons, because
 * it refuses them (see `sampling` of the options). `sessionId` is the key of the provider's cache, unless `cache` is
 * `off`; it caches automatically, so breakpoints are ignored. The wire has no seed, no stop sequences, and no mark for a failed result:
 * the model reads it in the text. Tools are not strict, because a strict schema has rules of its own.
 * @see https://platform.openai.com/docs/api-reference/responses/create (2026-11)
 */
export function responsesRequest(request: LlmRequest, options: ResponsesRequestOptions = {}): OpenAiResponsesBody {
  const { cache, generation, model, modelVariant, outputSpec, parallelToolCalls, sessionId, tools } = request
  const rules = openAiModelRules(model)
  const { reasoning = rules.reasons === false ? "off" : "encrypted", stream = false } = options
  const { maxOutputTokens, providerOptions, temperature, topP } = generation
  const effort = generation.reasoningEffort ?? modelVariant ?? ""
  const names = new ToolNames(tools)
  const { input, instructions } = withInstructions(new ItemProjection(request, { ...options, reasoning }, names).items(), options)
  const body: Body = {
    model,
    ...(instructions !== undefined && { instructions }),
    input,
    ...(tools.length > 0 && { tools: tools.map((tool) => projectTool(tool, names)) }),
    ...(maxOutputTokens !== undefined && { max_output_tokens: Math.max(maxOutputTokens, LEAST_OUTPUT_TOKENS) }),
    ...(!isBlank(effort) && { reasoning: { effort } }),
    ...(outputSpec !== undefined && { text: { format: formatOf(outputSpec) } }),
    ...(reasoning === "encrypted" && { include: ["reasoning.encrypted_content"] }),
    ...(sessionId !== undefined && sessionId !== "" && cache !== "off" && { prompt_cache_key: cacheKey(sessionId) }),
    store: false,
    ...(stream && { stream: true }),
  }
  const merged = [providerOptions, options.extraBody].reduce<Body>((made, more) => (isRecord(more) ? merge(made, more) : made), body)
  // Endpoints refuse both without tools. Those of the provider count as well.
  const offered = merged["tools"]
  const hasTools = Array.isArray(offered) && offered.length > 0
  const { sampling = reasoning !== "encrypted" || (rules.samplesWithoutEffort && effortIn(merged) === "none") } = options
  return wellFormed({
    ...(sampling && { ...(temperature !== undefined && { temperature }), ...(topP !== undefined && { top_p: topP }) }),
    ...(hasTools && { tool_choice: choiceOf(request, names), ...(parallelToolCalls === false && { parallel_tool_calls: false as const }) }),
    ...merged,
  }) as OpenAiResponsesBody
}

type Body = { readonly [key: string]: unknown }

/** Adds further keys to a body: `reasoning` and `text` key by key, `tools` and `include` after ours; any other key overrides. */
function merge(body: Body, more: Body): Body {
  const merged = new Map<string, unknown>(Object.entries(body))
  for (const [key, value] of Object.entries(more)) {
    const { [key]: before } = body
    if ((key === "reasoning" || key === "text") && isRecord(before) && isRecord(value)) merged.set(key, { ...before, ...value })
    else if ((key === "tools" || key === "include") && Array.isArray(before) && Array.isArray(value))
      merged.set(key, [...new Set([...(before as readonly unknown[]), ...(value as readonly unknown[])])])
    else merged.set(key, value)
  }
  return Object.fromEntries(merged)
}

/** The effort of a body: ours, or what the host set in the provider's own words. */
function effortIn({ reasoning }: Body): unknown {
  return isRecord(reasoning) ? reasoning["effort"] : undefined
}

/** A name that is not among the tools makes the endpoint refuse the request; then the model has to call any of them. */
function choiceOf({ toolChoice, tools }: LlmRequest, names: ToolNames): NonNullable<OpenAiResponsesBody["tool_choice"]> {
  if (typeof toolChoice === "string") return toolChoice
  return tools.some(({ name }) => name === toolChoice.toolName) ? { type: "function", name: names.sent(toolChoice.toolName) } : "required"
}

function cacheKey(sessionId: string): string {
  return sessionId.length <= LONGEST_CACHE_KEY ? sessionId : `${sessionId.slice(0, LONGEST_CACHE_KEY - 11)}_${shortHash(sessionId, 10)}`
}

function projectTool({ name, description, inputSchema }: ToolSpec, names: ToolNames): ResponsesTool {
  // The endpoint would make the schema strict without the key.
  return { type: "function", name: names.sent(name), description, parameters: openAiParameters(inputSchema), strict: false }
}

function formatOf(outputSpec: NonNullable<LlmRequest["outputSpec"]>): ResponsesFormat {
  if (outputSpec.type === "json_object") return { type: "json_object" }
  const { name, schema, strict } = outputSpec
  const sentName = name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64) || "answer"
  return { type: "json_schema", name: sentName, schema: isRecord(schema) ? (schema as { readonly [key: string]: Json }) : {}, strict }
}

function withInstructions(
  items: readonly ResponsesItem[],
  options: ResponsesRequestOptions,
): { readonly input: readonly ResponsesItem[]; readonly instructions?: string } {
  const start = items.findIndex((item) => !("role" in item) || (item["role"] !== "system" && item["role"] !== "developer"))
  if (options.instructions !== true || start < 1) return { input: items }
  const texts = items.slice(0, start).map((item) => ("content" in item && typeof item.content === "string" ? item.content : ""))
  return { input: items.slice(start), instructions: texts.reduce(joinTexts) }
}

const NOTHING: ShownByResult = { ...NOTHING_SHOWN, inResult: false }

function resultItem(sentId: string, output: ResponsesResult["output"]): ResponsesResult {
  return { type: "function_call_output", call_id: sentId, output }
}

/** Projects the messages of one request, in order. */
class ItemProjection {
  readonly #request: LlmRequest
  readonly #options: ResponsesRequestOptions
  readonly #names: ToolNames
  readonly #content: ContentProjection
  readonly #ids = new SentIds()
  readonly #conversation = new Conversation<ResponsesItem, ResponsesResult["output"]>(resultItem, NO_RESULT)

  constructor(request: LlmRequest, options: ResponsesRequestOptions, names: ToolNames) {
    this.#request = request
    this.#options = options
    this.#names = names
    this.#content = new ContentProjection(request, options)
  }

  items(): readonly ResponsesItem[] {
    for (const message of this.#request.messages) this.#project(message)
    return this.#conversation.end()
  }

  #project(message: LlmMessage): void {
    const { role, blocks } = message
    const results = blocks.filter((block) => block.type === "tool_result")
    // A user's message mostly has the results of the calls before it. Those of calls of its own follow them.
    const early = role === "user" ? this.#addResults(results) : results
    this.#addAnswer(message)
    const orphans = new Set(this.#addResults(early))
    const stray = [...orphans].map((result) => inputText(strayResultText(resultText(result))))
    if (role === "user") this.#addUser([...stray, ...this.#userContent(blocks, orphans)])
    else {
      this.#addUser(stray)
      if (role === "system") this.#addSystem(blocks)
    }
  }

  /** Adds results directly after the calls that they answer. Returns those that answer none. */
  #addResults(results: readonly ToolResultBlock[]): readonly ToolResultBlock[] {
    return results.filter((result) => !this.#conversation.addResult(result.callId, this.#content.ofResult(result)))
  }

  /** Adds what the model said. Calls under another role still need an answer. */
  #addAnswer(message: LlmMessage): void {
    const { blocks, producer, role } = message
    const own = role === "assistant" ? message : { ...message, blocks: blocks.filter((block) => block.type === "tool_call") }
    if (own.blocks.length === 0) return
    const from = originOf(producer, this.#options.producer, OPENAI_RESPONSES, this.#request)
    const { calls, items } = answerItems(own, { options: this.#options, names: this.#names, ids: this.#ids, content: this.#content, from })
    if (items.length > 0) this.#conversation.addAnswer(items, calls)
  }

  #userContent(blocks: LlmMessage["blocks"], orphans: ReadonlySet<ToolResultBlock>): readonly ResponsesContent[] {
    const content: ResponsesContent[] = []
    let shown = NOTHING
    for (const block of blocks) {
      if (block.type === "text" && block.text !== "") content.push(inputText(block.text))
      else if (block.type === "opaque" && block.text !== undefined && block.text !== "") content.push(inputText(block.text))
      else if (block.type === "image" || block.type === "file") content.push(...this.#content.inMessage(block, shown))
      else if (block.type === "tool_result")
        shown = { ...shownBy(block), inResult: this.#options.resultAttachments !== "message" && !orphans.has(block) }
    }
    return content
  }

  #addUser(content: readonly ResponsesContent[]): void {
    const [first] = content
    if (first === undefined) return
    const isText = content.length === 1 && first.type === "input_text"
    this.#conversation.add({ role: "user", content: isText ? first.text : content })
  }

  #addSystem(blocks: LlmMessage["blocks"]): void {
    let text = ""
    for (const block of blocks) {
      if (block.type === "text" || block.type === "opaque") text = joinTexts(text, block.text ?? "")
      else if (block.type === "image" || block.type === "file") text = joinTexts(text, this.#content.asText(block))
    }
    if (text !== "") this.#conversation.add({ role: this.#options.systemRole ?? "system", content: text })
  }
}
