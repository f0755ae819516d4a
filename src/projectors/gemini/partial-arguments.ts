import { type Json, MAX_JSON_DEPTH } from "../../json.ts"
import { isRecord } from "../wires/values.ts"

type Key = string | number

/** A step of a path: `.name`, `[0]`, `['name']` or `["name"]`. */
const STEP = /\.([\p{L}_$][\p{L}\p{N}_$-]*)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]/uy

/**
 * Arguments of a call that come value by value, each with its path. Vertex AI sends them so if the request has
 * `streamFunctionCallArguments`.
 * @see https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc (2026-11)
 */
export class PartialArguments {
  #root: Json = {}
  /** The path of the text that the next piece continues. */
  #openPath: string | undefined
  #isBroken = false

  /** Whether a piece could not be read, so that the arguments are not those that the model wrote. */
  get isBroken(): boolean {
    return this.#isBroken
  }

  get value(): Json {
    return this.#root
  }

  add(piece: unknown): void {
    const value = isRecord(piece) ? readValue(piece) : undefined
    const path = isRecord(piece) ? piece["jsonPath"] : undefined
    const keys = typeof path === "string" ? keysOf(path) : undefined
    if (!isRecord(piece) || value === undefined || typeof path !== "string" || keys === undefined) {
      this.#isBroken = true
      return
    }
    const root = place(this.#root, keys, value, path === this.#openPath)
    if (root === undefined) this.#isBroken = true
    else this.#root = root
    this.#openPath = piece["willContinue"] === true ? path : undefined
  }
}

function readValue({ boolValue, nullValue, numberValue, stringValue }: Readonly<Record<string, unknown>>): Json | undefined {
  if (typeof stringValue === "string") return stringValue
  if (typeof numberValue === "number" && Number.isFinite(numberValue)) return numberValue
  if (typeof boolValue === "boolean") return boolValue
  return nullValue === undefined ? undefined : null
}

function keysOf(path: string): readonly Key[] | undefined {
  if (!path.startsWith("$")) return undefined
  const keys: Key[] = []
  STEP.lastIndex = 1
  let end = 1
  for (let step = STEP.exec(path); step !== null; step = STEP.exec(path)) {
    const [, name, index, single, double] = step
    keys.push(index === undefined ? (name ?? unescaped(single ?? double ?? "")) : Number(index))
    end = STEP.lastIndex
  }
  return end === path.length && keys.length > 0 && keys.length < MAX_JSON_DEPTH ? keys : undefined
}

function unescaped(name: string): string {
  return name.replace(/\\(.)/gs, "$1")
}

/** Returns a value with another one at a path in it; `undefined` if the path does not fit. An item of a list follows those before it. */
function place(target: Json | undefined, [key, ...rest]: readonly Key[], value: Json, continues: boolean): Json | undefined {
  if (key === undefined) return continues && typeof target === "string" && typeof value === "string" ? target + value : value
  if (typeof key === "number") {
    const list: readonly Json[] = target === undefined ? [] : Array.isArray(target) ? target : NONE
    const item = list === NONE || key > list.length ? undefined : place(list[key], rest, value, continues)
    return item === undefined ? undefined : [...list.slice(0, key), item, ...list.slice(key + 1)]
  }
  if (target !== undefined && !isRecord(target)) return undefined
  const before = target !== undefined && Object.hasOwn(target, key) ? (target[key] as Json) : undefined
  const item = place(before, rest, value, continues)
  // A map, because an assignment to the key `__proto__` would be lost.
  return item === undefined ? undefined : (Object.fromEntries(new Map(Object.entries(target ?? {})).set(key, item)) as Json)
}

const NONE: readonly Json[] = []
