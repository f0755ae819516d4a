import type { Json } from "../../json.ts"
import type { ViewedTurn, ViewerData } from "../data.ts"

/** What a page that may be shown to others has. Names of files, and what was written about the journals here, stay. */
export function redactedPage({ title, turns, threads }: ViewerData): ViewerData {
  const digests: Digests = new Map()
  return {
    title,
    redacted: true,
    turns: turns.map((turn) => redactedTurn(turn, digests)),
    threads: threads.map((thread) => redact(thread as unknown as Json, undefined, digests) as unknown as ViewerData["threads"][number]),
  }
}

/** The page cannot replay what is redacted, so it does not need the configuration. */
function redactedTurn({ agent: _agent, file, word, damage, note, ...turn }: ViewedTurn, digests: Digests): ViewedTurn {
  return {
    ...(redact(turn as unknown as Json, undefined, digests) as unknown as typeof turn),
    file,
    word,
    ...(damage !== undefined && { damage }),
    ...(note !== undefined && { note }),
  }
}

/**
 * Replaces texts, arguments and values in a JSON value. Keys, numbers, names of tools, ids, states and codes stay, so that a reader can see what
 * happened and not what was said. What a key holds whose name is not listed is replaced, if it is a text.
 */
export function redacted<Value>(value: Value): Value {
  return redact(value as Json, undefined, new Map()) as Value
}

/** Values of these keys are arguments, results or of a form that others chose: replaced as a whole, also numbers and names in them. */
const WHOLE: ReadonlySet<string> = new Set([
  "args",
  "value",
  "inputJson",
  "inputSchema",
  "outputSchema",
  "meta",
  "raw",
  "data",
  "payload",
  "inputs",
  "expected",
  "received",
  "providerMetadata",
  "providerUsage",
  "providerOptions",
  "driverState",
  "observations",
  "observationTruncation",
  "toolCalls",
  "images",
  "terminalFinish",
  "initialNodes",
  "causedBy",
  "schema",
])

/** Ids say which things belong together. */
const IDS: ReadonlySet<string> = new Set([
  "id",
  "callId",
  "toolName",
  "requestId",
  "turnId",
  "threadId",
  "goalId",
  "childId",
  "itemId",
  "effectId",
  "log",
  "thread",
])

/** Words of these keys say what happened, and nothing of what was said. A text that is more than a word is replaced. */
const WORDS: ReadonlySet<string> = new Set([
  "type",
  "role",
  "status",
  "name",
  "callback",
  "checkpoint",
  "terminalReason",
  "kind",
  "code",
  "class",
  "source",
  "decision",
  "format",
  "model",
  "modelVariant",
  "provider",
  "api",
  "purpose",
  "cause",
  "origin",
  "addedBy",
  "at",
  "scope",
  "language",
  "stop",
  "driver",
  "toolChoice",
  "cache",
  "mediaType",
  "states",
  "lastVerdict",
])

/** A name or a code. `goal(chat)` is the name of a driver. */
const WORD = /^[\w.:/+@()-]{1,100}$/

/** Digests of what was said: who guesses a short text could check the guess. Equal ones stay equal. */
const DIGESTS: ReadonlySet<string> = new Set(["digest", "checksum", "print"])
type Digests = Map<string, string>

/** Records of this package in a history. In others, every key is someone else's. */
const OWN_EVENTS: ReadonlySet<unknown> = new Set([
  "approval",
  "approval_grant",
  "approval_grant_revoked",
  "code_repair",
  "compaction",
  "compaction_delivered",
  "compaction_failed",
  "compaction_needed",
  "compaction_requested",
  "goal",
  "judged",
  "output_rejected",
  "surface_change",
])

/** What has the text of code as `code`. */
const CODE: ReadonlySet<unknown> = new Set(["exec_code", "start_exec", "code_started"])

type JsonObject = { readonly [name: string]: Json }

function redact(value: Json, key: string | undefined, digests: Digests): Json {
  if (key !== undefined && WHOLE.has(key)) return mark(value)
  if (typeof value === "string") return redactedText(value, key, digests)
  if (Array.isArray(value)) return value.map((item) => redact(item as Json, key === undefined || WORDS.has(key) ? key : `${key}[]`, digests))
  if (typeof value !== "object" || value === null) return value
  const object = value as JsonObject
  return Object.fromEntries(Object.entries(object).map(([name, member]) => [name, redactedMember(object, name, member, digests)]))
}

function redactedText(text: string, key: string | undefined, digests: Digests): Json {
  if (key === undefined) return mark(text)
  if (DIGESTS.has(key)) return renamed(text, digests)
  return IDS.has(key) || (WORDS.has(key) && WORD.test(text)) ? text : mark(text)
}

function redactedMember(object: JsonObject, name: string, member: Json, digests: Digests): Json {
  switch (name) {
    case "config":
      return digestsOfKeys(object, member, digests)
    case "event":
      return object["type"] === "protocol" ? redactedEvent(member, digests) : redact(member, name, digests)
    case "delivery":
      return redactedDelivery(member, digests)
    case "code":
      // What a model wrote. Elsewhere it is the code of a failure.
      return CODE.has(object["type"]) ? mark(member) : redact(member, name, digests)
    case "name":
      // The name of a check is its command, or what its author called it.
      return ["command", "tail", "tool"].some((other) => Object.hasOwn(object, other)) ? mark(member) : redact(member, name, digests)
    case "reason":
      // That of a broken prefix names a part of the request.
      return Object.hasOwn(object, "marked") && (member === "system" || member === "tools" || member === "message") ? member : mark(member)
    default:
      return redact(member, name, digests)
  }
}

/** A journal has a digest of each key of the configuration. */
function digestsOfKeys(object: JsonObject, config: Json, digests: Digests): Json {
  const isOfJournal = object["type"] === "header" || object["type"] === "reconfigured"
  if (!isOfJournal || typeof config !== "object" || config === null || Array.isArray(config)) return mark(config)
  return Object.fromEntries(
    Object.entries(config).map(([key, digest]) => [key, typeof digest === "string" ? renamed(digest, digests) : mark(digest)]),
  )
}

/** The record of a history that is not a message. */
function redactedEvent(event: Json, digests: Digests): Json {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return mark(event)
  const { type, ...rest } = event as JsonObject
  if (OWN_EVENTS.has(type)) return redact(event, "event", digests)
  return { ...(typeof type === "string" && { type: redactedText(type, "type", digests) }), content: mark(rest) }
}

/** What a delivery has as `events` becomes records of the history. */
function redactedDelivery(delivery: Json, digests: Digests): Json {
  const left = redact(delivery, "delivery", digests)
  if (typeof left !== "object" || left === null || Array.isArray(left)) return left
  const events = (delivery as JsonObject)["events"]
  return Array.isArray(events) ? { ...left, events: events.map((event) => redactedEvent(event as Json, digests)) } : left
}

function renamed(digest: string, digests: Digests): string {
  const name = digests.get(digest) ?? `redacted-${digests.size + 1}`
  digests.set(digest, name)
  return name
}

/** A string keeps its length, and whether it is empty, which can say why a turn went as it did. */
function mark(value: Json): Json {
  if (value === null || typeof value === "boolean" || value === "") return value
  if (typeof value === "string") return `[redacted: ${value.length} characters]`
  return `[redacted: ${JSON.stringify(value).length} characters of JSON]`
}
