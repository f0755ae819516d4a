import { SchemaError } from "../errors.ts"
import { type Listing, type Segment, withAttachments, withMessages } from "../lazy.ts"
import { isBlank, trim } from "../text.ts"
import type { Block, LlmMessage, LlmRequest } from "../wire/llm.ts"
import type { AttachmentRef, Message, Origin, Part, ReasoningReplay, TurnCause } from "../wire/message.ts"
import type { ProjectionInput, Projector, Transcript } from "./projector.ts"

/**
 * Projects the transcript to chat messages: the system prompt, one message for each transcript message with content to show,
 * and at the end the events that the turn runs for. Tool calls and results are passed on unchanged.
 *
 * The common beginning of two transcripts, one grown from the other, is rendered once. The request's lists are built when
 * they are first read. So the cost of a request is that of its new messages, at any length.
 */
export const chatProjector: Projector = (input: ProjectionInput): LlmRequest => {
  // A caller without types may call it as a factory.
  if (input === undefined) throw new SchemaError("invalid_config", "Pass chatProjector, not chatProjector().", [])
  const { config, tools, useTools, messages } = input
  const rendered = renderTranscript(messages)
  const attachmentEnd = rendered.attachmentEnds[messages.length] as number
  const request: Mutable<Omit<LlmRequest, "messages">> = {
    model: config.model,
    attachments: NO_ATTACHMENTS,
    tools: useTools ? tools : [],
    toolChoice: useTools ? "auto" : "none",
    generation: config.generation,
  }
  if (config.modelVariant !== undefined) request.modelVariant = config.modelVariant
  if (config.runSessionId !== undefined) request.sessionId = config.runSessionId
  if (attachmentEnd > 0) withAttachments(request, new Beginning(rendered.attachments, attachmentEnd))
  return withMessages(request, new RequestMessages(input, rendered))
}

const NO_ATTACHMENTS: readonly AttachmentRef[] = []

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

/** The messages of a request, built when they are first read. */
class RequestMessages implements Listing<LlmMessage> {
  readonly #input: Pick<ProjectionInput, "systemPrompt" | "turnCauses">
  readonly #rendered: Rendered
  readonly #end: number
  #array: readonly LlmMessage[] | undefined

  constructor(input: ProjectionInput, rendered: Rendered) {
    this.#input = input
    this.#rendered = rendered
    this.#end = rendered.ends[input.messages.length] as number
  }

  toArray(): readonly LlmMessage[] {
    this.#array ??= requestMessages(this.#input, this.#rendered, this.#end)
    return this.#array
  }

  segments(): readonly Segment<LlmMessage>[] | undefined {
    const { systemPrompt, turnCauses } = this.#input
    if (turnCauses.length > 0) return undefined
    const system = systemMessages(this.#rendered, systemPrompt)
    return [
      { storage: system, length: system.length },
      { storage: this.#rendered.messages, length: this.#end },
    ]
  }
}

/** The system prompt as the first messages of a request. The same prompt gives the same list, so that it may key a cache. */
function systemMessages(rendered: Rendered, systemPrompt: string): readonly LlmMessage[] {
  if (rendered.system?.prompt !== systemPrompt) {
    const messages: readonly LlmMessage[] = isBlank(systemPrompt) ? [] : [{ role: "system", blocks: [{ type: "text", text: systemPrompt }] }]
    rendered.system = { prompt: systemPrompt, messages }
  }
  return rendered.system.messages
}

/** The first items of a list that grows. */
class Beginning<Item> implements Listing<Item> {
  readonly #items: readonly Item[]
  readonly #end: number
  #array: readonly Item[] | undefined

  constructor(items: readonly Item[], end: number) {
    this.#items = items
    this.#end = end
  }

  toArray(): readonly Item[] {
    this.#array ??= this.#items.slice(0, this.#end)
    return this.#array
  }
}

function requestMessages(input: Pick<ProjectionInput, "systemPrompt" | "turnCauses">, rendered: Rendered, end: number): readonly LlmMessage[] {
  const { systemPrompt, turnCauses } = input
  const messages: LlmMessage[] = systemMessages(rendered, systemPrompt).slice()
  if (turnCauses.length === 0) return messages.concat(rendered.messages.slice(0, end))

  // Causes are shown in a block of their own; with their event messages they would appear twice.
  const causes = new Set(turnCauses.map((cause) => cause.id))
  for (let index = 0; index < end; index += 1) {
    const source = rendered.sources[index] as Message
    if (source.role !== "event" || !causes.has(source.id)) messages.push(rendered.messages[index] as LlmMessage)
  }
  messages.push({ role: "user", blocks: [{ type: "text", text: renderTurnCauses(turnCauses) }] })
  return messages
}

/** The rendered part of one storage. `ends[n]`: how many messages the first n of the transcript give; `attachmentEnds` the same for attachments. */
interface Rendered {
  system?: { readonly prompt: string; readonly messages: readonly LlmMessage[] }
  readonly messages: LlmMessage[]
  /** The transcript message of each rendered one. */
  readonly sources: Message[]
  readonly ends: number[]
  readonly attachments: AttachmentRef[]
  readonly attachmentEnds: number[]
}

const renderings = new WeakMap<readonly Message[], Rendered>()

/** Renders the new messages of a transcript. The items of a storage never change, so rendered messages stay valid. */
function renderTranscript(transcript: Transcript<Message>): Rendered {
  let rendered = renderings.get(transcript.storage)
  if (rendered === undefined) {
    rendered = { messages: [], sources: [], ends: [0], attachments: [], attachmentEnds: [0] }
    renderings.set(transcript.storage, rendered)
  }
  for (let index = rendered.ends.length - 1; index < transcript.length; index += 1) {
    const message = transcript.at(index) as Message
    const blocks = renderMessage(message, rendered.attachments)
    if (blocks.length > 0) {
      rendered.messages.push({ role: message.role === "event" ? "user" : message.role, blocks })
      rendered.sources.push(message)
    }
    rendered.ends.push(rendered.messages.length)
    rendered.attachmentEnds.push(rendered.attachments.length)
  }
  return rendered
}

function renderMessage(message: Message, attachments: AttachmentRef[]): readonly Block[] {
  const blocks: Block[] = []
  for (const part of message.parts) {
    const block = renderPart(message.role, part, attachments)
    if (block !== undefined) blocks.push(block)
  }
  return blocks
}

function renderPart(role: Message["role"], part: Part, attachments: AttachmentRef[]): Block | undefined {
  switch (part.type) {
    case "reasoning":
      // Providers accept back only reasoning that they recognise as their own.
      return isReplayable(part.replay) ? { type: "reasoning", text: part.text, replay: part.replay } : undefined
    case "tool_call": {
      const { type, callId, toolName, inputJson, replay } = part
      return replay === undefined ? { type, callId, toolName, inputJson } : { type, callId, toolName, inputJson, replay }
    }
    case "tool_result": {
      const { type, callId, toolName } = part
      const text = shownText(part, part.text)
      return toolName === undefined ? { type, callId, text } : { type, callId, toolName, text }
    }
    case "image": {
      if (part.attachment !== undefined && role === "user") return { type: "image", attachmentIndex: attachments.push(part.attachment) - 1 }
      const text = part.attachment === undefined ? (part.text ?? "") : ""
      return textBlock(role, isBlank(text) ? "[Image attached]" : text)
    }
    case "text": {
      const block = textBlock(role, shownText(part, part.text))
      return block === undefined || part.responseMeta === undefined ? block : { ...block, responseMeta: part.responseMeta }
    }
    case "output":
    case "error": {
      const text = shownText(part, part.text)
      return textBlock(role, role === "system" ? `<${part.type}>\n${text}\n</${part.type}>` : text)
    }
    case "code":
      return textBlock(role, shownText(part, part.text))
  }
}

function textBlock(role: Message["role"], text: string): Extract<Block, { type: "text" }> | undefined {
  if (isBlank(text)) return undefined
  const note = role === "system" ? "Runtime note:\n" : role === "event" ? "Runtime event:\n" : ""
  return { type: "text", text: note + text }
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
