import type { Json } from "../../src/schemas/json.ts"

/** Compares as JSON values and names the first path at which they differ. */
export function expectSame(received: unknown, expected: unknown, where: string): void {
  const difference = firstDifference(plain(received), plain(expected), "")
  if (difference === undefined) return
  const { path, left, right } = difference
  throw new Error(`${where} differs first at "${path}":\n  expected ${show(right)}\n  received ${show(left)}`)
}

function plain(value: unknown): Json | undefined {
  const text: string | undefined = JSON.stringify(value)
  return text === undefined ? undefined : (JSON.parse(text) as Json)
}

function show(value: Json | undefined): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 600)
}

interface Difference {
  readonly path: string
  readonly left: Json | undefined
  readonly right: Json | undefined
}

function firstDifference(left: Json | undefined, right: Json | undefined, path: string): Difference | undefined {
  if (left === right) return undefined
  const nested = typeof left === "object" && typeof right === "object" && left !== null && right !== null
  if (!nested || left === undefined || right === undefined || Array.isArray(left) !== Array.isArray(right)) return { path, left, right }
  const ours = left as { readonly [key: string]: Json }
  const theirs = right as { readonly [key: string]: Json }
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(ours)])) {
    const here = `${path}/${key}`
    const mine = Object.hasOwn(ours, key) ? ours[key] : undefined
    const other = Object.hasOwn(theirs, key) ? theirs[key] : undefined
    const found = firstDifference(mine, other, here)
    if (found !== undefined) return found
  }
  return undefined
}

/**
 * A value of this package without the fields that the reference does not have, and only those. Free JSON keeps its keys, unless it has
 * the shape of one of these values.
 */
export function withoutOurFields(value: unknown): Json | undefined {
  return stripped(plain(value))
}

type Fields = { readonly [key: string]: Json }

/** The fields of ours, and the shape of the values that have them. */
const OURS: readonly { readonly of: (value: Fields) => boolean; readonly fields: readonly string[] }[] = [
  { of: ({ type, eventDelta }) => (type === "done" || type === "progress") && eventDelta !== undefined, fields: ["usage", "recordsFrom"] },
  { of: ({ inputTokens, outputTokens }) => inputTokens !== undefined && outputTokens !== undefined, fields: ["cacheWriteTokens"] },
  { of: ({ type, callId }) => type === "tool_result" && callId !== undefined, fields: ["isError", "content"] },
  { of: ({ type }) => typeof type === "string" && PARTS.includes(type), fields: ["providerMetadata"] },
  { of: ({ role, parts, blocks }) => role !== undefined && (parts !== undefined || blocks !== undefined), fields: ["producer"] },
  { of: ({ toolChoice, messages }) => toolChoice !== undefined && messages !== undefined, fields: ["cache"] },
  { of: ({ type, calls }) => (type === "start_tools" || type === "waiting_tools") && calls !== undefined, fields: ["held", "settled"] },
  { of: ({ terminalReason }) => terminalReason !== undefined, fields: ["retriedUsage"] },
]

const PARTS = ["text", "code", "output", "error", "image", "tool_call", "tool_result", "reasoning"]

function stripped(value: Json | undefined): Json | undefined {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => stripped(item) as Json)
  const object = value as Fields
  const ours = OURS.filter(({ of }) => of(object)).flatMap(({ fields }) => fields)
  const kept = Object.entries(object).filter(([key]) => !ours.includes(key))
  return Object.fromEntries(
    kept.map(([key, item]) => [key, key === "stop" && object["type"] === "stopped" ? withoutError(item) : stripped(item)]),
  ) as Json
}

function withoutError(stop: Json): Json {
  const { error: _error, ...reference } = stop as Fields
  return stripped(reference) as Json
}
