import type { Json } from "../json.ts"
import { messagesListing, type Segment } from "../lazy.ts"
import type { AnswerableEffect, ToolCalls } from "../wire/effect.ts"
import type { LlmRequest } from "../wire/llm.ts"
import { type Digest, digest, digestString, EMPTY, extend } from "./digest.ts"

/**
 * Returns a short digest of an effect without its id. The digest of a longer transcript continues that of a shorter one, so
 * each message is read once, and a request costs the same at any length.
 */
export function fingerprint(effect: AnswerableEffect): string {
  let known = fingerprints.get(effect)
  if (known === undefined) {
    known = freshFingerprint(effect)
    fingerprints.set(effect, known)
  }
  return known
}

/** {@link fingerprint}, which is not cached by the effect. */
export function freshFingerprint(effect: AnswerableEffect): string {
  if (effect.type === "llm_call") return requestFingerprint(effect.request)
  return digest(effect.type === "tool_calls" ? comparedBatch(effect) : withoutId(effect))
}

const fingerprints = new WeakMap<AnswerableEffect, string>()

function withoutId(effect: Exclude<AnswerableEffect, { type: "llm_call" | "tool_calls" }>): Json {
  const { id: _, ...content } = effect
  return content
}

/** Requests contain the id of the effect, and times follow the clock: a batch that was asked for at another time has the same fingerprint. */
function comparedBatch({ id: _, held, ...batch }: ToolCalls): Json {
  if (held === undefined) return batch
  return { ...batch, held: held.map(({ requestId: _request, ask: { expiresAt: _time, ...ask }, ...call }) => ({ ...call, ask })) }
}

function requestFingerprint(request: LlmRequest): string {
  const { model, modelVariant, toolChoice, parallelToolCalls, generation, cache, sessionId, outputSpec, attachments, tools } = request
  const listing = messagesListing<LlmRequest["messages"][number]>(request)
  const messages = chain(listing?.segments?.() ?? [{ storage: request.messages, length: request.messages.length }])
  const rest: Json[] = [model, modelVariant ?? null, toolChoice, generation, sessionId ?? null, outputSpec ?? null, toolsDigest(tools), attachments]
  if (parallelToolCalls !== undefined || cache !== undefined) rest.push(parallelToolCalls ?? null, cache ?? null)
  return digestString(extend(messages, rest))
}

const toolsDigests = new WeakMap<LlmRequest["tools"], string>()

/** Cached by the list, which is never changed in place. */
function toolsDigest(tools: LlmRequest["tools"]): string {
  let known = toolsDigests.get(tools)
  if (known === undefined) {
    known = digest(tools)
    toolsDigests.set(tools, known)
  }
  return known
}

/** The digests of a storage's beginnings: of no items, of one item, and so on. One list for each digest before the storage. */
const chains = new WeakMap<readonly object[], Digest[][]>()

function chain(segments: readonly Segment<Json & object>[]): Digest {
  let last = EMPTY
  for (const { storage, length } of segments) {
    const links = linksOf(storage, last)
    for (let index = links.length - 1; index < length; index += 1) links.push(extend(links[index] as Digest, storage[index] as Json))
    last = links[length] as Digest
  }
  return last
}

/** Returns the list that starts with this digest. A storage has few, mostly one. */
function linksOf(storage: readonly object[], start: Digest): Digest[] {
  let all = chains.get(storage)
  if (all === undefined) {
    all = []
    chains.set(storage, all)
  }
  for (const links of all) if (links[0]?.a === start.a && links[0].b === start.b) return links
  const links = [start]
  all.push(links)
  return links
}
