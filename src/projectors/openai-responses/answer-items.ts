import type { Json } from "../../json.ts"
import { isBlank } from "../../text.ts"
import type { LlmMessage, OpaqueBlock, ReasoningBlock, TextBlock, ToolCallBlock } from "../../wire/llm.ts"
import type { OpenCall } from "../wires/conversation.ts"
import type { Origin } from "../wires/origin.ts"
import type { ToolNames } from "../wires/tool-names.ts"
import { isRecord, stringOf } from "../wires/values.ts"
import { sentArguments } from "../wires/well-formed.ts"
import type { ContentProjection } from "./attachments.ts"
import type { ResponsesCall, ResponsesItem, ResponsesOutputContent, ResponsesOutputMessage, ResponsesPhase, ResponsesReasoning } from "./body.ts"
import type { ItemPrefix, SentIds } from "./ids.ts"
import { CALL_KEYS, isRefusal, unanswered } from "./kinds.ts"
import { DEFAULT_PROVIDER, type ResponsesRequestOptions } from "./options.ts"

/** What the items of an answer are made with. */
export interface AnswerContext {
  readonly options: ResponsesRequestOptions
  readonly names: ToolNames
  readonly ids: SentIds
  readonly content: ContentProjection
  readonly from: Origin
}

/** The items of one answer, and its calls in order. */
export interface AnswerItems {
  readonly items: readonly ResponsesItem[]
  readonly calls: readonly OpenCall[]
}

/** An item before it is known whether it may have its id. */
type Draft =
  | { readonly type: "message"; readonly id: string; readonly meta: NonNullable<TextBlock["responseMeta"]>; readonly texts: TextBlock[] }
  | { readonly type: "text"; readonly text: string; readonly phase?: ResponsesPhase; readonly isOwn: boolean }
  | { readonly type: "reasoning"; readonly item: ResponsesReasoning; readonly id?: string }
  | { readonly type: "call"; readonly item: ResponsesCall; readonly id?: string }
  | { readonly type: "opaque"; readonly item: { readonly [key: string]: Json } & { readonly type: string }; readonly text: string }

/**
 * Projects an answer of the model to items, in the order in which it gave them.
 *
 * Reasoning goes back only together with the item that followed it: the endpoint refuses it as the last item of an answer. Where some
 * reasoning of an answer is missing, its messages and calls are sent without their ids, by which the endpoint knows that it is missing,
 * and items of the provider's own tools as text.
 * @see https://github.com/openai/openai-agents-python/issues/1611 (2026-11): "without its required following item"
 * @see https://github.com/0xPlaygrounds/rig/issues/751 (2026-11): "without its required 'reasoning' item"
 */
export function answerItems({ blocks }: LlmMessage, context: AnswerContext): AnswerItems {
  const drafts: Draft[] = []
  const calls: OpenCall[] = []
  const returned = returnedItems(blocks, context)
  let isWhole = true
  for (const block of blocks) {
    switch (block.type) {
      case "text":
        addText(drafts, block, context)
        break
      case "image":
      case "file":
        drafts.push({ type: "text", text: context.content.asText(block), isOwn: false })
        break
      case "reasoning": {
        const draft = reasoningDraft(block, context)
        if (draft !== undefined) drafts.push(draft)
        else isWhole &&= block.replay?.itemId === undefined
        break
      }
      case "tool_call": {
        const draft = callDraft(block, context)
        drafts.push(draft)
        calls.push({ callId: block.callId, sentId: draft.item.call_id })
        break
      }
      case "opaque": {
        const draft = opaqueDraft(block, returned.has(block))
        if (draft !== undefined) drafts.push(draft)
        break
      }
      case "tool_result":
        break
    }
  }
  const followed = withoutTrailingReasoning(drafts)
  const isMissed = (index: number): boolean => !followed.includes(drafts[index] as Draft) && drafts.slice(index + 1).some(isOwnItem)
  const hasIds = isWhole && !drafts.some((_draft, index) => isMissed(index))
  const sent = hasIds ? followed : withoutTrailingReasoning(followed.flatMap(withoutItem))
  return { items: sent.map((draft) => itemOf(draft, hasIds, context)), calls }
}

function addText(drafts: Draft[], block: TextBlock, { from, ids }: AnswerContext): void {
  const { responseMeta: meta, text } = block
  const id = meta?.id
  const last = drafts.at(-1)
  if (id !== undefined && last?.type === "message" && last.id === id) last.texts.push(block)
  else if (meta !== undefined && accepts(ids, id, from, "msg_")) drafts.push({ type: "message", id, meta, texts: [block] })
  else if (text !== "") {
    const phase = from === "other" ? undefined : phaseOf(meta?.phase)
    drafts.push({ type: "text", text, ...(phase !== undefined && { phase }), isOwn: meta !== undefined && from !== "other" })
  }
}

function reasoningDraft({ providerMetadata, replay, text }: ReasoningBlock, { from, ids, options }: AnswerContext): Draft | undefined {
  const { reasoning = "encrypted" } = options
  const { encryptedContent = "", itemId, summary = [] } = replay ?? {}
  if (from === "other" || reasoning === "off") return undefined
  const isEncrypted = encryptedContent !== ""
  // The encrypted content belongs to the id, so another id never replaces it.
  if (itemId !== undefined && ids.has(itemId)) return undefined
  const content = reasoning === "plain" && !isEncrypted ? contentOf(providerMetadata, text, summary.length > 0) : []
  if (!isEncrypted && (reasoning !== "plain" || (content.length === 0 && summary.length === 0))) return undefined
  const id = accepts(ids, itemId, from, "rs_") ? itemId : undefined
  const item: ResponsesReasoning = {
    type: "reasoning",
    ...(id !== undefined && { id }),
    summary: summary.map((part) => ({ type: "summary_text", text: part })),
    ...(content.length > 0 && { content: content.map((part) => ({ type: "reasoning_text" as const, text: part })) }),
    ...(isEncrypted && { encrypted_content: encryptedContent }),
  }
  return { type: "reasoning", item, ...(id !== undefined && { id }) }
}

/** The texts of plain reasoning: those of its item, else its text where it has no summary. */
function contentOf(metadata: Json | undefined, text: string, hasSummary: boolean): readonly string[] {
  const content = isRecord(metadata) ? metadata["content"] : undefined
  if (Array.isArray(content)) return (content as readonly unknown[]).filter((part) => typeof part === "string")
  return hasSummary || isBlank(text) ? [] : [text]
}

function callDraft(block: ToolCallBlock, { from, ids, names }: AnswerContext): Extract<Draft, { type: "call" }> {
  const { callId, inputJson, providerMetadata, replay, toolName } = block
  const id = accepts(ids, replay?.itemId, from, "fc_") ? replay?.itemId : undefined
  const item: ResponsesCall = {
    ...(from !== "other" && isRecord(providerMetadata) && pick(providerMetadata, CALL_KEYS)),
    type: "function_call",
    call_id: ids.call(callId, from),
    name: names.sent(toolName),
    arguments: sentArguments(inputJson),
  }
  return { type: "call", item, ...(id !== undefined && { id }) }
}

/** The opaque blocks of an answer that its model gets back raw: none of them would be refused. Their ids are theirs from then on. */
function returnedItems(blocks: LlmMessage["blocks"], { from, ids, options }: AnswerContext): ReadonlySet<OpaqueBlock> {
  const own = blocks.filter((block): block is OpaqueBlock => {
    if (block.type !== "opaque") return false
    const { data, kind, provider } = block
    const isOwn = from === "same" || (from === "unknown" && provider === (options.producer?.provider ?? DEFAULT_PROVIDER))
    if (!isOwn || !isRecord(data) || data["type"] !== kind) return false
    const id = stringOf(data["id"])
    if (id !== "" && ids.has(id)) return false
    if (id !== "") ids.add(id)
    return true
  })
  const refused = unanswered(own)
  return new Set(own.filter((block) => !refused.has(block)))
}

function opaqueDraft({ data, kind, text = "" }: OpaqueBlock, isReturned: boolean): Draft | undefined {
  if (!isReturned) return text === "" ? undefined : { type: "text", text, isOwn: false }
  // Only answers have this key; a request with it is refused.
  const { created_by: _createdBy, ...item } = data as { readonly [key: string]: Json }
  return { type: "opaque", item: { ...item, type: kind }, text }
}

function accepts(ids: SentIds, id: string | undefined, from: Origin, prefix: ItemPrefix): id is string {
  if (!ids.accepts(id, from, prefix)) return false
  ids.add(id)
  return true
}

/** Whether the model made it, apart from reasoning. A note about a cut-off answer is not of the model. */
function isOwnItem(draft: Draft): boolean {
  return draft.type !== "reasoning" && (draft.type !== "text" || draft.isOwn)
}

/** Leaves out reasoning that no item of the answer follows. */
function withoutTrailingReasoning(drafts: readonly Draft[]): readonly Draft[] {
  return drafts.filter(({ type }, index) => {
    if (type !== "reasoning") return true
    const next = drafts.slice(index + 1).find((draft) => draft.type !== "reasoning")
    return next !== undefined && isOwnItem(next)
  })
}

/** What is sent of an item in an answer without its ids: a message with text, and the text of what cannot be without its id. */
function withoutItem(draft: Draft): readonly Draft[] {
  if (draft.type === "message") return draft.texts.every(({ text }) => text === "") ? [] : [draft]
  if (draft.type !== "opaque" || draft.item.type === "compaction") return [draft]
  return draft.text === "" ? [] : [{ type: "text", text: draft.text, isOwn: false }]
}

function itemOf(draft: Draft, hasIds: boolean, { from }: AnswerContext): ResponsesItem {
  switch (draft.type) {
    case "message": {
      const phase = phaseOf(draft.meta.phase)
      if (hasIds) return messageItem(draft, phase)
      return { role: "assistant", content: draft.texts.map(({ text }) => text).join(""), ...(phase !== undefined && { phase }) }
    }
    case "text":
      return { role: "assistant", content: draft.text, ...(draft.phase !== undefined && { phase: draft.phase }) }
    case "reasoning":
      return draft.item
    case "call": {
      const { type, ...rest } = draft.item
      return { type, ...(hasIds && from !== "other" && draft.id !== undefined && { id: draft.id }), ...rest }
    }
    case "opaque":
      return draft.item
  }
}

function messageItem({ id, meta, texts }: Extract<Draft, { type: "message" }>, phase: ResponsesPhase | undefined): ResponsesOutputMessage {
  return {
    type: "message",
    id,
    role: "assistant",
    status: meta.status === "incomplete" || meta.status === "in_progress" ? "incomplete" : "completed",
    ...(phase !== undefined && { phase }),
    content: texts.map(({ providerMetadata, text }): ResponsesOutputContent => {
      if (isRefusal(providerMetadata)) return { type: "refusal", refusal: text }
      const annotations = isRecord(providerMetadata) ? providerMetadata["annotations"] : undefined
      return {
        type: "output_text",
        text,
        annotations: Array.isArray(annotations) ? ((annotations as readonly Json[]).filter(isRecord) as readonly Json[]) : [],
      }
    }),
  }
}

function phaseOf(phase: string | undefined): ResponsesPhase | undefined {
  return phase === "commentary" || phase === "final_answer" ? phase : undefined
}

function pick(source: Readonly<Record<string, unknown>>, keys: readonly string[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(keys.flatMap((key) => (source[key] === undefined || source[key] === null ? [] : [[key, source[key]] as const])))
}
