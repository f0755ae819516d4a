import type { Json } from "../../json.ts"

/**
 * Replaces texts, arguments and values in a JSON value. Keys, numbers, names of tools, ids, states and codes stay, so that a reader can see what
 * happened and not what was said. What a key holds whose name is not listed is replaced, if it is a text.
 */
export function redacted<Value>(value: Value): Value {
  return redact(value as Json, undefined) as Value
}

/** Values of these keys are arguments and results: replaced as a whole, also numbers and names in them. */
const WHOLE: ReadonlySet<string> = new Set([
  "args",
  "value",
  "inputJson",
  "inputSchema",
  "outputSchema",
  "meta",
  "raw",
  "data",
  "providerMetadata",
  "providerUsage",
  "providerOptions",
  "driverState",
  "observations",
  "toolCalls",
  "images",
  "terminalFinish",
  "initialNodes",
  "causedBy",
  "schema",
])

/** Texts of these keys say what happened, and nothing of what was said. */
const KEPT: ReadonlySet<string> = new Set([
  "type",
  "id",
  "role",
  "status",
  "callId",
  "toolName",
  "name",
  "requestId",
  "turnId",
  "threadId",
  "goalId",
  "itemId",
  "effectId",
  "callback",
  "checkpoint",
  "terminalReason",
  "kind",
  "code",
  "class",
  "source",
  "decision",
  "digest",
  "checksum",
  "format",
  "log",
  "model",
  "modelVariant",
  "provider",
  "api",
  "purpose",
  "cause",
  "origin",
  "addedBy",
  "at",
  "path",
  "scope",
  "language",
  "stop",
  "driver",
  "toolChoice",
  "cache",
  "mediaType",
  "states",
  "config",
  "lastVerdict",
  "print",
  "file",
  "word",
  "thread",
  "title",
])

function redact(value: Json, key: string | undefined): Json {
  if (key !== undefined && WHOLE.has(key)) return mark(value)
  if (typeof value === "string") return key !== undefined && KEPT.has(key) ? value : mark(value)
  if (Array.isArray(value)) return value.map((item) => redact(item as Json, key === undefined || KEPT.has(key) ? key : `${key}[]`))
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value as { readonly [name: string]: Json })
  // The digests of a configuration have its keys.
  if (key === "config") return value
  // The name of a check is its command.
  const isCheck = Object.hasOwn(value, "command") || Object.hasOwn(value, "tail")
  return Object.fromEntries(entries.map(([name, member]) => [name, isCheck && name === "name" ? mark(member) : redact(member, name)]))
}

/** A string keeps its length, and whether it is empty, which can say why a turn went as it did. */
function mark(value: Json): Json {
  if (value === null || typeof value === "boolean" || value === "") return value
  if (typeof value === "string") return `[redacted: ${value.length} characters]`
  return `[redacted: ${JSON.stringify(value).length} characters of JSON]`
}
