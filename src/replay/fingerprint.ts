import type { Json } from "../json.ts"
import { messagesListing, type Segment } from "../lazy.ts"
import type { AnswerableEffect } from "../schemas/effect.ts"
import type { LlmRequest } from "../schemas/llm.ts"
import { digest, digestText } from "./digest.ts"

/**
 * A short digest of all that an effect asks for; its id is left out. Each message is digested once: a request's messages
 * come to a chain, in which a longer transcript goes on where a shorter one ended. So it costs the same at any length.
 */
export function fingerprint(effect: AnswerableEffect): string {
  let known = fingerprints.get(effect)
  if (known === undefined) {
    known = effect.type === "llm_call" ? requestFingerprint(effect.request) : digest(withoutId(effect))
    fingerprints.set(effect, known)
  }
  return known
}

const fingerprints = new WeakMap<AnswerableEffect, string>()

function withoutId(effect: Exclude<AnswerableEffect, { type: "llm_call" }>): Json {
  const { id: _, ...asked } = effect
  return asked
}

function requestFingerprint(request: LlmRequest): string {
  const { model, modelVariant, toolChoice, generation, sessionId, outputSpec, attachments, tools } = request
  const head = [model, modelVariant ?? null, toolChoice, generation, sessionId ?? null, outputSpec ?? null]
  const listing = messagesListing<LlmRequest["messages"][number]>(request)
  const messages = chain(listing?.segments?.() ?? [{ storage: request.messages, length: request.messages.length }])
  return digestText([memoized(JSON.stringify(head)), objectDigest(tools), attachments.length === 0 ? "" : digest(attachments), messages].join())
}

/** Few heads occur in a turn, mostly one. */
const heads = new Map<string, string>()
const MOST_HEADS = 64

function memoized(text: string): string {
  let known = heads.get(text)
  if (known === undefined) {
    known = digestText(text)
    if (heads.size >= MOST_HEADS) heads.clear()
    heads.set(text, known)
  }
  return known
}

const objectDigests = new WeakMap<object, string>()

/** The digest of a value that is never changed in place, made once. */
function objectDigest(value: Json & object): string {
  let known = objectDigests.get(value)
  if (known === undefined) {
    known = digest(value)
    objectDigests.set(value, known)
  }
  return known
}

/** For each storage, and each digest that a chain came to it with: the digest after so many of its items. */
const chains = new WeakMap<readonly object[], Map<string, string[]>>()

function chain(segments: readonly Segment<Json & object>[]): string {
  let last = ""
  for (const { storage, length } of segments) {
    const links = linksOf(storage, last)
    while (links.length <= length) links.push(digestText(`${links[links.length - 1]}${objectDigest(storage[links.length - 1] as Json & object)}`))
    last = links[length] as string
  }
  return last
}

function linksOf(storage: readonly object[], start: string): string[] {
  let byStart = chains.get(storage)
  if (byStart === undefined) {
    byStart = new Map()
    chains.set(storage, byStart)
  }
  let links = byStart.get(start)
  if (links === undefined) {
    links = [start]
    byStart.set(start, links)
  }
  return links
}
