import { parseJson } from "../../json.ts"
import { isBlank } from "../../text.ts"
import { isRecord } from "./values.ts"

/**
 * The arguments of a tool call, from pieces. They are stored as they come, with two exceptions. What follows once they are a whole JSON
 * object is left out if it is the same object again: older versions of vLLM repeat the arguments in the last piece. And an empty object
 * that another object follows is left out: some servers send `{}` before the arguments.
 *
 * Reads each character once, because parsing the text after each piece would need quadratic time.
 * @see https://github.com/vllm-project/vllm/issues/10395 (2026-11)
 * @see https://github.com/microsoft/autogen/issues/6843, https://github.com/llamastack/llama-stack/issues/5464 (2026-11): `{}` first
 */
export class Arguments {
  /** Whole objects, one after another. More than one is a repetition, or not JSON at all. */
  readonly #objects: string[] = []
  /** What follows the last whole object. */
  #rest = ""
  #state: "blank" | "inside" | "other" = "blank"
  #depth = 0
  #inString = false
  #escaped = false

  /** Whether nothing but white space has come. */
  get isBlank(): boolean {
    return !this.isWhole && this.#state === "blank"
  }

  /** Whether the arguments are a whole JSON object. */
  get isWhole(): boolean {
    return this.#objects.length > 0
  }

  /** Whether the arguments are an empty object, after which the real ones may still come. */
  get isPlaceholder(): boolean {
    return this.#objects.length === 1 && isBlank(this.#rest) && /^\s*\{\s*\}$/.test(this.#objects[0] ?? "")
  }

  /** Whether an object has begun that is not closed yet. */
  get isOpen(): boolean {
    return !this.isWhole && this.#state === "inside"
  }

  /** Whether a text is the whole arguments once more. */
  repeats(text: string): boolean {
    const [whole] = this.#objects
    return whole !== undefined && /^\s*\{/.test(text) && isSameJson(whole, text)
  }

  append(text: string): void {
    let start = 0
    for (let index = 0; index < text.length && this.#state !== "other"; index += 1) {
      if (!this.#closesAt(text.charCodeAt(index))) continue
      const object = this.#rest + text.slice(start, index + 1)
      start = index + 1
      this.#rest = ""
      if (isRecord(parseJson(object))) {
        this.#objects.push(object)
        this.#state = "blank"
      } else {
        this.#rest = object
        this.#state = "other"
      }
    }
    this.#rest += text.slice(start)
  }

  /** The arguments as the model wrote them. They may be broken. */
  text(): string {
    const [whole, ...more] = this.#objects
    if (whole === undefined) return this.#rest
    if (more.length > 0 && isBlank(this.#rest) && more.every((object) => isSameJson(whole, object))) return whole
    return this.#objects.join("") + this.#rest
  }

  /** Reads one character. Returns whether it closes an object. */
  #closesAt(code: number): boolean {
    if (this.#state === "blank") {
      if (code === OPEN) {
        if (this.isPlaceholder) this.#objects.pop()
        this.#state = "inside"
        this.#depth = 1
      } else if (!isJsonSpace(code)) this.#state = "other"
      return false
    }
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false
      else if (code === BACKSLASH) this.#escaped = true
      else if (code === QUOTE) this.#inString = false
      return false
    }
    if (code === QUOTE) this.#inString = true
    else if (code === OPEN) this.#depth += 1
    else if (code === CLOSE) this.#depth -= 1
    return this.#depth === 0
  }
}

const OPEN = "{".charCodeAt(0)
const CLOSE = "}".charCodeAt(0)
const QUOTE = '"'.charCodeAt(0)
const BACKSLASH = "\\".charCodeAt(0)

function isJsonSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
}

/** Whether two texts are the same JSON, apart from white space between its tokens. */
function isSameJson(one: string, other: string): boolean {
  if (one === other) return true
  const value = parseJson(other)
  return value !== undefined && JSON.stringify(value) === JSON.stringify(parseJson(one))
}
