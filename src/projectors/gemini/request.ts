import { isBlank, strayResultText } from "../../text.ts"
import type { Block, LlmMessage, LlmRequest, OpaqueBlock, ToolCallBlock, ToolResultBlock } from "../../wire/llm.ts"
import { attachmentOf, describeAttachment, missingAttachment, NOTHING_SHOWN, resultText, type Shown, shownBy } from "../wires/attachments.ts"
import { CallIds, readableId } from "../wires/call-ids.ts"
import { type Origin, originOf } from "../wires/origin.ts"
import { ToolNames } from "../wires/tool-names.ts"
import { isRecord } from "../wires/values.ts"
import { wellFormed } from "../wires/well-formed.ts"
import type { GeminiBody, GeminiContent, GeminiMedia, GeminiPart } from "./body.ts"
import { generationConfigOf, toolsOf, withExtras } from "./config.ts"
import { Contents, type OpenCall } from "./contents.ts"
import { mediaOf, resultMediaOf } from "./media.ts"
import { type ModelRules, rulesOf } from "./model.ts"
import { ModelParts } from "./model-parts.ts"
import { GEMINI, type GeminiRequestOptions, GOOGLE } from "./options.ts"
import { CONTINUATION_TOKEN, sentRaw } from "./parts.ts"
import { isSignature } from "./signature.ts"

/** An id is any text for Gemini. One that is long, or has odd characters, comes from elsewhere. */
const CALL_ID = /^[\x21-\x7e]{1,256}$/

/**
 * Projects a model request to a `generateContent` body.
 *
 * The system messages at the beginning are the `systemInstruction`; later ones are sent as the user's. Each answer goes back part by part, in
 * its order, with each signature on the part that it came with. Thoughts go back only if they are signed. Adjacent messages of one role are
 * one content. An answer that ended with `CONTINUATION` is continued by its token and is not in the contents.
 *
 * Whatever a transcript contains, the body is valid: arguments are objects, names match `[a-zA-Z_][a-zA-Z0-9_-]{0,63}` (see `toolNames` of the
 * wire), every call has one result and every result a call, user and model take turns, signatures are base64, and no text has half a surrogate
 * pair. What only another model understands is left out: its signatures, its thoughts, its `providerMetadata`, and opaque blocks except for
 * their text.
 *
 * The request's `cache` and the cache breakpoints are ignored: Gemini caches automatically. `parallelToolCalls` has no counterpart. An effort
 * is sent as a level or, up to Gemini 2.5, as a budget; other words than the known ones are left out.
 * @see https://ai.google.dev/api/generate-content (2026-11)
 */
export function geminiRequest(request: LlmRequest, options: GeminiRequestOptions = {}): GeminiBody {
  const rules = rulesWith(request.model, options)
  const names = new ToolNames(request.tools, "word")
  const projection = new Projection(request, options, rules, names)
  const contents = projection.contents()
  const { continuationToken, system } = projection
  const body: GeminiBody = {
    contents,
    ...(system.length > 0 && { systemInstruction: { parts: system.map((text) => ({ text })) } }),
    ...toolsOf(request, names),
    ...generationConfigOf(request, options, rules),
    ...(continuationToken !== undefined && { continuationToken }),
  }
  return wellFormed(withExtras(withExtras(body, request.generation.providerOptions), options.extraBody))
}

function rulesWith(model: string, { multimodalResults, signedCalls }: GeminiRequestOptions): ModelRules {
  const rules = rulesOf(model)
  return { ...rules, wantsSignatures: signedCalls ?? rules.wantsSignatures, showsInResults: multimodalResults ?? rules.showsInResults }
}

type AttachmentBlock = Extract<Block, { attachmentIndex: number }>

/** A result with the images and files that are sent in it. */
interface ShownResult {
  readonly block: ToolResultBlock
  readonly media: readonly GeminiMedia[]
}

/** Projects the messages of one request, in order. */
class Projection {
  /** The texts of the system messages at the beginning. */
  readonly system: string[] = []
  /** The token by which the model continues its last answer. */
  continuationToken: string | undefined
  readonly #request: LlmRequest
  readonly #options: GeminiRequestOptions
  readonly #rules: ModelRules
  readonly #names: ToolNames
  readonly #ids = new CallIds(readableId(30))
  readonly #contents = new Contents()
  #hasBegun = false

  constructor(request: LlmRequest, options: GeminiRequestOptions, rules: ModelRules, names: ToolNames) {
    this.#request = request
    this.#options = options
    this.#rules = rules
    this.#names = names
  }

  contents(): readonly GeminiContent[] {
    for (const message of this.#withoutContinued()) this.#project(message)
    return this.#contents.end()
  }

  /** The messages without the answers at the end that the model continues by a token. */
  #withoutContinued(): readonly LlmMessage[] {
    const { messages } = this.#request
    let end = messages.length
    for (; end > 0; end -= 1) {
      const token = this.#tokenOf(messages[end - 1])
      if (token === undefined) break
      this.continuationToken ??= token
    }
    return messages.slice(0, end)
  }

  #tokenOf(message: LlmMessage | undefined): string | undefined {
    const metadata = message?.role === "assistant" && this.#originOf(message) !== "other" ? message.blocks.at(-1)?.providerMetadata : undefined
    const token = isRecord(metadata) ? metadata[CONTINUATION_TOKEN] : undefined
    return isSignature(token) ? token : undefined
  }

  #originOf({ producer }: LlmMessage): Origin {
    return originOf(producer, this.#options.producer, GEMINI, this.#request)
  }

  #project(message: LlmMessage): void {
    const { blocks, role } = message
    const answer = new ModelParts(this.#originOf(message))
    const raw = sentRaw(blocks.filter((block) => role === "assistant" && block.type === "opaque" && this.#isOwn(block, answer.from)) as OpaqueBlock[])
    const results: ShownResult[] = []
    const content: GeminiPart[] = []
    const add = (parts: readonly GeminiPart[]): void => (role === "assistant" ? answer.add(parts) : void content.push(...parts))
    let shown: Shown = NOTHING_SHOWN
    let inResults: ReadonlySet<string> = new Set()
    for (const block of blocks) {
      switch (block.type) {
        case "text":
          if (role === "assistant") answer.addText(block)
          else if (block.text !== "") add([{ text: block.text }])
          break
        case "image":
        case "file":
          add(this.#attachment(block, role, shown, inResults))
          break
        case "tool_call":
          answer.addCall(block, this.#call(block))
          break
        case "tool_result": {
          const media = this.#resultMedia(block)
          results.push({ block, media: [...media.values()] })
          shown = shownBy(block)
          inResults = new Set([...inResults, ...media.keys()])
          break
        }
        case "reasoning":
          if (role === "assistant") answer.addThought(block)
          break
        case "opaque":
          if (raw.has(block)) answer.addRaw(block)
          else if (block.text !== undefined && !isBlank(block.text)) add([{ text: block.text }])
      }
    }
    if (this.#rules.wantsSignatures) answer.signCalls()

    // A user's message mostly has the results of the calls before it. Those of calls of its own follow them.
    const own = role === "user" ? this.#addResults(results) : results
    this.#contents.addModel(answer.parts, answer.calls)
    const orphans = this.#addResults(own).flatMap(({ block, media }): readonly GeminiPart[] => [
      { text: strayResultText(resultText(block)) },
      ...media,
    ])
    this.#contents.addUser(orphans)
    this.#hasBegun ||= role !== "system" || answer.parts.length > 0 || orphans.length > 0
    if (this.#hasBegun) this.#contents.addUser(content)
    else for (const { text } of content) if (text !== undefined) this.system.push(text)
  }

  /** Whether an opaque block was written by this model. Without a producer, its provider says so. */
  #isOwn(block: OpaqueBlock, from: Origin): boolean {
    return from === "same" || (from === "unknown" && block.provider === (this.#options.producer?.provider ?? GOOGLE))
  }

  #call({ callId, toolName }: ToolCallBlock): OpenCall {
    const id = this.#ids.next(callId, CALL_ID)
    return { callId, sentId: this.#options.callIds === "omit" ? undefined : id, name: this.#names.sent(toolName) }
  }

  /** Adds results to the calls that they answer. Returns those that answer none. */
  #addResults(results: readonly ShownResult[]): readonly ShownResult[] {
    return results.filter(({ block, media }) => {
      const text = resultText(block)
      return !this.#contents.addResult(block.callId, {
        response: block.isError === true ? { error: text } : { output: text },
        ...(media.length > 0 && { parts: media }),
      })
    })
  }

  /** The images and files that are sent in a result, by the ids of their attachments. */
  #resultMedia({ content = [] }: ToolResultBlock): ReadonlyMap<string, GeminiMedia> {
    const media = new Map<string, GeminiMedia>()
    if (!this.#rules.showsInResults) return media
    for (const part of content) {
      const sent = part.type === "attachment" ? resultMediaOf(part.attachment, this.#options) : undefined
      if (part.type === "attachment" && sent !== undefined) media.set(part.attachment.id, sent)
    }
    return media
  }

  /** Projects an attachment by its media type. One that its result shows is not sent once more. */
  #attachment(block: AttachmentBlock, role: LlmMessage["role"], shown: Shown, inResults: ReadonlySet<string>): readonly GeminiPart[] {
    const attachment = attachmentOf(this.#request, block)
    if (attachment === undefined) return [{ text: missingAttachment(block.type) }]
    if (inResults.has(attachment.id)) return []
    const isOfResult = shown.ids.has(attachment.id)
    const sent = role === "user" ? mediaOf(attachment, this.#options) : undefined
    if (sent === undefined) return isOfResult ? [] : [{ text: describeAttachment(attachment) }]
    return isOfResult ? [{ text: describeAttachment(attachment, shown.toolName) }, sent] : [sent]
  }
}
