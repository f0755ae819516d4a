import { MAX_JSON_DEPTH } from "./json.ts"

/**
 * Says what is wrong with a text that `parseJson` refuses, and where. Engines word their own errors differently, so they would not
 * be the same in every replay.
 */
export function jsonFault(text: string): string {
  const { at, expected } = scan(text)
  if (at === undefined) return `They are JSON nested deeper than ${MAX_JSON_DEPTH} levels, or with a number that is too large.`
  if (at >= text.length) return `They end too early: ${expected} is missing after ${near(text, text.length)}.`
  return `They are not JSON at character ${at + 1}: expected ${expected}, found ${near(text, at)}.`
}

/** Whether a text that is not JSON could be: only its end is missing. */
export function isJsonStart(text: string): boolean {
  const { at } = scan(text)
  return at !== undefined && (at >= text.length || CUT_TOKEN.test(text.slice(at)))
}

/** A word, a number or an escape that ends too early. */
const CUT_TOKEN = /^(?:t|tr|tru|f|fa|fal|fals|n|nu|nul|-?(?:\d+\.?)?(?:\d+[eE][+-]?)?|\\(?:u[\da-fA-F]{0,3})?)$/

function near(text: string, at: number): string {
  return JSON.stringify(text.slice(...(at < text.length ? [at, at + 20] : [Math.max(0, at - 20), at])))
}

const SCALAR = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y
/** All but quotes, backslashes and control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON allows all but these in a string
const PLAIN = /[^"\\\u0000-\u001f]+/y
const ESCAPE = /\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y
const SPACE = /[ \t\n\r]*/y

/** Reads JSON without making its value. `at`: where it breaks off, and what was expected there; `undefined` if it is whole. */
function scan(text: string): { readonly at?: number; readonly expected: string } {
  const open: ("{" | "[")[] = []
  let at = 0
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at
    if (!pattern.test(text)) return false
    at = pattern.lastIndex
    return true
  }
  const readString = (): boolean => {
    at += 1
    while (take(PLAIN) || take(ESCAPE));
    if (text.charAt(at) !== '"') return false
    at += 1
    return true
  }
  let expects: "value" | "first value" | "key" | "first key" | "next" = "value"
  for (;;) {
    take(SPACE)
    const char = text.charAt(at)
    const container = open.at(-1)
    if (expects === "next") {
      if (container === undefined) return at === text.length ? { expected: "" } : { at, expected: "the end" }
      if (char === ",") expects = container === "{" ? "key" : "value"
      else if (char === (container === "{" ? "}" : "]")) open.pop()
      else return { at, expected: container === "{" ? '"," or "}"' : '"," or "]"' }
      at += 1
    } else if (expects.startsWith("first") && char === (container === "{" ? "}" : "]")) {
      open.pop()
      at += 1
      expects = "next"
    } else if (expects.endsWith("key")) {
      if (char !== '"') return { at, expected: "a key in double quotes" }
      if (!readString()) return { at, expected: "the end of a string" }
      take(SPACE)
      if (text.charAt(at) !== ":") return { at, expected: '":"' }
      at += 1
      expects = "value"
    } else if (char === '"') {
      if (!readString()) return { at, expected: "the end of a string" }
      expects = "next"
    } else if (char === "{" || char === "[") {
      open.push(char)
      at += 1
      expects = char === "{" ? "first key" : "first value"
    } else if (take(SCALAR)) expects = "next"
    else return { at, expected: "a value" }
  }
}
