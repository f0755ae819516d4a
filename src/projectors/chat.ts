import { SchemaError } from "../errors.ts"
import { frozen } from "../freeze.ts"
import { canonicalJson, type Json } from "../json.ts"
import { beginsWith, Joined, type Listing, withAttachments, withMessages } from "../lazy.ts"
import { isBlank, trim } from "../text.ts"
import { unknownKey } from "../unknown-key.ts"
import type { Block, LlmMessage, LlmRequest } from "../wire/llm.ts"
import type { AttachmentRef, InterruptedReason, Message, Origin, Part, ReasoningReplay, TurnCause } from "../wire/message.ts"
import type { ProjectionInput, Projector, Transcript } from "./projector.ts"

/** Options of {@link createChatProjector}. */
export interface ChatProjectorOptions {
  /**
   * Where the model reads what a turn runs for. `inline`: each cause at its event message, where it was delivered; a cause without an
   * event message after the messages that the turn began with. Requests then only grow at their end. `tail`: all causes in one block
   * at the end of every request, without their event messages. The block moves, so a provider's prompt cache ends before the message
   * that preceded it. Default `inline`.
   */
  readonly turnCauses?: "inline" | "tail"
}

/**
 * Projects the transcript to chat messages: the system prompt, and one message for each transcript message with content to show.
 * Tool calls and results are passed on unchanged, and so is what only their producer understands.
 *
 * A request begins with the messages of the request before it. They are rendered once, and the request's lists are built when they are
 * first read. So the cost of a request is that of its new messages, at any length.
 */
export const chatProjector: Projector = (input) => {
  // A caller without types may call it as a factory.
  if (input === undefined) throw new SchemaError("invalid_config", "Pass chatProjector, not chatProjector().", [])
  const rendered = renderTranscript(INLINE, input.messages, input.startLength, causesWithoutMessage(input))
  return requestOf(input, rendered, segmented(input, rendered))
}

const tailProjector: Projector = (input) => {
  const rendered = renderTranscript(TAIL, input.messages, 0, [])
  return requestOf(input, rendered, input.turnCauses.length === 0 ? segmented(input, rendered) : new CausesLast(input, rendered))
}

/**
 * Makes a {@link chatProjector} that shows the causes of a turn in another place.
 * @throws {SchemaError} `invalid_config`
 */
export function createChatProjector(options: ChatProjectorOptions = {}): Projector {
  const { turnCauses = "inline" } = options
  const unknown = Array.isArray(turnCauses) ? undefined : unknownKey(options, ["turnCauses"])
  if (unknown !== undefined) {
    const message = `createChatProjector has the unknown option ${JSON.stringify(unknown.key)}; its option is turnCauses.`
    throw new SchemaError("invalid_config", message, [{ path: `/${unknown.key}`, message }])
  }
  if (turnCauses === "inline") return chatProjector
  if (turnCauses === "tail") return tailProjector
  const message = Array.isArray(turnCauses) ? "Pass createChatProjector(), not createChatProjector." : "`turnCauses` is `inline` or `tail`."
  throw new SchemaError("invalid_config", message, [{ path: "/turnCauses", message }])
}

const NO_ATTACHMENTS: readonly AttachmentRef[] = []

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

function requestOf({ config, tools, useTools, messages }: ProjectionInput, rendered: Rendered, listing: Listing<LlmMessage>): LlmRequest {
  const request: Mutable<Omit<LlmRequest, "messages">> = {
    model: config.model,
    attachments: NO_ATTACHMENTS,
    tools: useTools ? tools : [],
    toolChoice: useTools ? "auto" : "none",
    generation: config.generation,
  }
  if (config.modelVariant !== undefined) request.modelVariant = config.modelVariant
  if (config.parallelToolCalls !== undefined) request.parallelToolCalls = config.parallelToolCalls
  if (config.cache !== undefined) request.cache = config.cache
  if (config.runSessionId !== undefined) request.sessionId = config.runSessionId
  const length = rendered.attachmentEnds[messages.length] as number
  if (length > 0) withAttachments(request, new Joined([{ storage: rendered.attachments, length }]))
  return withMessages(request, listing)
}

/** The system prompt and the rendered transcript. */
function segmented({ systemPrompt, messages }: ProjectionInput, rendered: Rendered): Joined<LlmMessage> {
  const system = systemMessages(rendered, systemPrompt)
  return new Joined([
    { storage: system, length: system.length },
    { storage: rendered.messages, length: rendered.ends[messages.length] as number },
  ])
}

/** The system prompt as the first messages of a request. The same prompt gives the same list, so that it may key a cache. */
function systemMessages(rendered: Rendered, systemPrompt: string): readonly LlmMessage[] {
  if (rendered.system?.prompt !== systemPrompt) {
    const messages: readonly LlmMessage[] = isBlank(systemPrompt) ? [] : [frozen({ role: "system", blocks: [{ type: "text", text: systemPrompt }] })]
    rendered.system = { prompt: systemPrompt, messages }
  }
  return rendered.system.messages
}

/** The system prompt, the transcript without the event messages of causes, and all causes in one block. */
class CausesLast implements Listing<LlmMessage> {
  readonly #input: ProjectionInput
  readonly #rendered: Rendered
  #array: readonly LlmMessage[] | undefined

  constructor(input: ProjectionInput, rendered: Rendered) {
    this.#input = input
    this.#rendered = rendered
  }

  toArray(): readonly LlmMessage[] {
    this.#array ??= Object.freeze(causesLast(this.#input, this.#rendered))
    return this.#array
  }
}

function causesLast({ systemPrompt, turnCauses, messages: transcript }: ProjectionInput, rendered: Rendered): readonly LlmMessage[] {
  const causes = new Set(turnCauses.map((cause) => cause.id))
  const messages: LlmMessage[] = systemMessages(rendered, systemPrompt).slice()
  for (let index = 0; index < transcript.length; index += 1) {
    const { role, id } = transcript.at(index) as Message
    const place = rendered.ends[index] as number
    const isShown = place < (rendered.ends[index + 1] as number)
    if (isShown && (role !== "event" || !causes.has(id))) messages.push(rendered.messages[place] as LlmMessage)
  }
  messages.push(frozen({ role: "user", blocks: [{ type: "text", text: renderTurnCauses(turnCauses) }] }))
  return messages
}

/** The rendered part of one storage. `ends[n]`: how many messages the first n of the transcript give; `attachmentEnds` the same for attachments. */
interface Rendered {
  /** The causes that follow the first `startLength` messages. */
  readonly causes: readonly TurnCause[]
  readonly startLength: number
  system?: { readonly prompt: string; readonly messages: readonly LlmMessage[] }
  readonly messages: LlmMessage[]
  readonly ends: number[]
  readonly attachments: AttachmentRef[]
  readonly attachmentEnds: number[]
}

/** One way to show events, with what was rendered in that way, by storage. */
interface Manner {
  readonly renderings: WeakMap<readonly Message[], Rendered>
  /** The text of an event message as the model reads it; `undefined`: nothing. */
  readonly eventText: (message: Message, text: string) => string | undefined
}

const INLINE: Manner = {
  renderings: new WeakMap(),
  eventText: ({ id, origin }, text) => {
    if (origin === undefined) return noted("Runtime event:\n", text)
    return renderEvent(id, origin.type === "process" ? origin.eventType : undefined, origin, text)
  },
}
const TAIL: Manner = { renderings: new WeakMap(), eventText: (_message, text) => noted("Runtime event:\n", text) }

/** Renders the new messages of a transcript. The items of a storage never change, so rendered messages stay valid. */
function renderTranscript(manner: Manner, transcript: Transcript<Message>, start: number, causes: readonly TurnCause[]): Rendered {
  const startLength = causes.length === 0 ? 0 : Math.min(start, transcript.length)
  let rendered = manner.renderings.get(transcript.storage)
  // A turn has the same causes in all its requests.
  if (rendered === undefined || rendered.startLength !== startLength || !isSame(rendered.causes, causes)) {
    rendered = { causes, startLength, messages: [], ends: [], attachments: [], attachmentEnds: [] }
    manner.renderings.set(transcript.storage, rendered)
  }
  for (let length = rendered.ends.length; length <= transcript.length; length += 1) {
    if (length > 0) {
      const message = transcript.at(length - 1) as Message
      const blocks = renderMessage(manner, message, rendered.attachments)
      if (blocks.length > 0) rendered.messages.push(frozen(llmMessage(message, blocks)))
    }
    if (length === startLength) for (const cause of causes) rendered.messages.push(frozen(causeMessage(cause)))
    rendered.ends.push(rendered.messages.length)
    rendered.attachmentEnds.push(rendered.attachments.length)
  }
  return rendered
}

function llmMessage({ role, producer }: Message, blocks: readonly Block[]): LlmMessage {
  const shown = role === "event" ? "user" : role
  return producer === undefined ? { role: shown, blocks } : { role: shown, blocks, producer }
}

function causeMessage({ id, eventType, origin, text }: TurnCause): LlmMessage {
  return { role: "user", blocks: [{ type: "text", text: renderEvent(id, eventType, origin, text) }] }
}

function isSame<Item>(left: readonly Item[], right: readonly Item[]): boolean {
  if (left === right) return true
  return left.length === right.length && beginsWith(left, right)
}

/** Where the event messages of a storage are, and which causes had none when it was last asked. */
interface EventMessages {
  /** The index of the first event message with an id and an origin. */
  readonly places: Map<string, number>
  seen: number
  last?: { readonly causes: readonly TurnCause[]; readonly length: number; readonly known: number; readonly missing: readonly TurnCause[] }
}

const eventMessages = new WeakMap<readonly Message[], EventMessages>()

/** The event message of a cause has its id and its origin. Another message with its id, which a host may add later, does not hide it. */
function eventKey({ id }: { readonly id: string }, origin: Origin): string {
  return canonicalJson([id, origin as unknown as Json])
}

/** The causes that no event message of the transcript shows. Reads only messages and causes that are new since the last time. */
function causesWithoutMessage({ turnCauses: causes, messages }: ProjectionInput): readonly TurnCause[] {
  if (causes.length === 0) return causes
  const { length, storage } = messages
  let events = eventMessages.get(storage)
  if (events === undefined) {
    events = { places: new Map(), seen: 0 }
    eventMessages.set(storage, events)
  }
  const { places, last } = events
  for (; events.seen < length; events.seen += 1) {
    const message = messages.at(events.seen) as Message
    const { role, origin } = message
    if (role !== "event" || origin === undefined) continue
    const key = eventKey(message, origin)
    if (!places.has(key)) places.set(key, events.seen)
  }
  // The same list as long as nothing was delivered.
  if (last !== undefined && causes === last.causes && last.length <= length && last.known === places.size) return last.missing
  const isNewer = last !== undefined && last.length <= length && (causes === last.causes || beginsWith(causes, last.causes))
  const unsure = isNewer ? last.missing.concat(causes.slice(last.causes.length)) : causes
  const missing = unsure.filter((cause) => (places.get(eventKey(cause, cause.origin)) ?? length) >= length)
  events.last = { causes, length, known: places.size, missing }
  return missing
}

function renderMessage(manner: Manner, message: Message, attachments: AttachmentRef[]): readonly Block[] {
  const blocks: Block[] = []
  for (const part of message.parts) {
    const block = renderPart(manner, message, part, attachments)
    if (block !== undefined) blocks.push(part.providerMetadata === undefined ? block : { ...block, providerMetadata: part.providerMetadata })
  }
  return blocks
}

function renderPart(manner: Manner, message: Message, part: Part, attachments: AttachmentRef[]): Block | undefined {
  const { role } = message
  switch (part.type) {
    case "reasoning": {
      // Providers accept back only reasoning that they recognise as their own. With a producer or metadata, the wire decides.
      const { type, text, replay, providerMetadata } = part
      const isKept = isReplayable(replay) || providerMetadata !== undefined || (message.producer !== undefined && !isBlank(text))
      if (!isKept) return undefined
      return replay === undefined ? { type, text } : { type, text, replay }
    }
    case "tool_call": {
      const { type, callId, toolName, inputJson, replay } = part
      return replay === undefined ? { type, callId, toolName, inputJson } : { type, callId, toolName, inputJson, replay }
    }
    case "tool_result": {
      const { type, callId, toolName, isError, content, prune } = part
      return {
        type,
        callId,
        ...(toolName !== undefined && { toolName }),
        text: shownText(part, part.text),
        ...(isError !== undefined && { isError }),
        ...(content !== undefined && prune === undefined && { content }),
      }
    }
    case "image": {
      if (part.attachment !== undefined && role === "user") return { type: "image", attachmentIndex: attachments.push(part.attachment) - 1 }
      const text = part.attachment === undefined ? (part.text ?? "") : ""
      return textBlock(manner, message, isBlank(text) ? "[Image attached]" : text)
    }
    case "file":
      if (role === "user") return { type: "file", attachmentIndex: attachments.push(part.attachment) - 1 }
      return textBlock(manner, message, "[File attached]")
    case "text": {
      const text = shownText(part, part.text)
      // A provider may sign an empty text.
      const isSigned = part.providerMetadata !== undefined && isBlank(text)
      const block = isSigned ? ({ type: "text", text } as const) : textBlock(manner, message, text)
      return block === undefined || part.responseMeta === undefined ? block : { ...block, responseMeta: part.responseMeta }
    }
    case "output":
    case "error": {
      const text = shownText(part, part.text)
      return textBlock(manner, message, role === "system" ? `<${part.type}>\n${text}\n</${part.type}>` : text)
    }
    case "code":
      return textBlock(manner, message, shownText(part, part.text))
    case "opaque": {
      const { type, provider, kind, data, text } = part
      if (role !== "assistant") return textBlock(manner, message, text ?? "")
      return text === undefined ? { type, provider, kind, data } : { type, provider, kind, data, text }
    }
    case "interrupted":
      return textBlock(manner, message, INTERRUPTED[part.reason])
  }
}

/** What the model reads where an answer was cut off. */
const INTERRUPTED: { readonly [Reason in InterruptedReason]: string } = {
  cancelled: "[The answer was cut off here: it was cancelled.]",
  output_limit: "[The answer was cut off here: it reached the output limit.]",
  context_overflow: "[The answer was cut off here: the context window was full.]",
  content_filter: "[The answer was cut off here: a content filter stopped it.]",
  refusal: "[The answer was cut off here: the model declined to continue.]",
  empty: "[The answer ended here: it held neither text nor a tool call.]",
  provider_error: "[The answer was cut off here: the model call failed.]",
}

function textBlock({ eventText }: Manner, message: Message, text: string): Extract<Block, { type: "text" }> | undefined {
  const { role } = message
  const shown = role === "event" ? eventText(message, text) : noted(role === "system" ? "Runtime note:\n" : "", text)
  return shown === undefined ? undefined : { type: "text", text: shown }
}

function noted(note: string, text: string): string | undefined {
  return isBlank(text) ? undefined : note + text
}

/** The text of a part, or its replacement if it was pruned. */
function shownText({ prune }: Part, text: string): string {
  switch (prune?.type) {
    case undefined:
      return text
    case "cleared":
      return "[Old tool result content cleared]"
    case "deleted":
      return `[pruned:${prune.archiveHash} — ${prune.breadcrumb}]`
    case "summarized":
      return `[SUMMARY of original ${prune.archiveHash}]\n${prune.summary}`
  }
}

/** Whether reasoning has anything by which its provider could recognise it. */
export function isReplayable(replay: ReasoningReplay | undefined): replay is ReasoningReplay {
  if (replay === undefined) return false
  const { itemId, encryptedContent, signature, redacted, summary } = replay
  return itemId !== undefined || encryptedContent !== undefined || signature !== undefined || redacted === true || (summary?.length ?? 0) > 0
}

/** One event as a text of its own. `type`: absent if it is not known. */
function renderEvent(id: string, type: string | undefined, origin: Origin, text: string): string {
  const title = type === undefined ? id : `${type} · ${id}`
  const shown = isBlank(text) ? "" : `\n\n${trim(text)}`
  return `--- event · ${title} ---\nOrigin: ${renderOrigin(origin)}${shown}`
}

function renderTurnCauses(causes: readonly TurnCause[]): string {
  const events = causes.map(
    ({ id, eventType, origin, text }, index) =>
      `\n\n--- event[${index}] · ${eventType} · ${id} ---\nOrigin: ${renderOrigin(origin)}\n\n${trim(text)}`,
  )
  return `=== TURN EVENTS ===${events.join("")}`
}

function renderOrigin(origin: Origin): string {
  if (origin.type === "plugin") return `plugin ${origin.pluginId}${origin.transient === true ? " (transient)" : ""}`
  const wake = origin.wakeId === undefined ? "" : ` (${origin.wakeId})`
  return `process ${origin.processId} ${origin.eventType} #${origin.sequence}${wake}`
}
