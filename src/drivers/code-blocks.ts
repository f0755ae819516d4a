import { type Fence, fenceLanguage, readFences } from "./fences.ts"
import { reasoningEnd } from "./reasoning-text.ts"

/** Which blocks are code to run. */
export interface CodeBlockOptions {
  readonly languages: readonly string[]
  readonly unlabelled: "run" | "repair" | "ignore"
}

/** Why an answer cannot be used, and the language that its code was meant to have. */
export interface Malformed {
  readonly problem: string
  readonly language?: string
}

/** The result of {@link readCode}: a block to run, or what looks like one; neither in an answer in words. */
export interface ReadCode {
  readonly fence?: Fence
  readonly unread?: Malformed
}

/**
 * Finds the first block of code to run. Without one, looks for what a reader would take for such a block, although it is not read as
 * one, so that it does not end the turn unnoticed.
 */
export function readCode(options: CodeBlockOptions, answer: string): ReadCode {
  // Code that the model only thinks about is not code to run. Blanked, so that positions stay those of the answer.
  const thought = reasoningEnd(answer)
  const text = answer.slice(0, thought).replaceAll(/[^\n]/g, " ") + answer.slice(thought)
  const fences = readFences(text)
  const fence = fences.find((each) => isMarked(options, each) || (options.unlabelled === "run" && isUnlabelled(each)))
  // An unlabelled fence may be the closing one of a block whose opening fence was not read.
  const unread = fence !== undefined && isMarked(options, fence) ? findInside(options, fence) : findUnread(options, text, fences, fence)
  if (unread !== undefined) return { unread }
  return fence === undefined ? {} : { fence }
}

function isMarked({ languages }: CodeBlockOptions, { info, language }: Pick<Fence, "info" | "language">): boolean {
  const word = /^\S*/.exec(info)?.[0].toLowerCase()
  return languages.some((known) => known.toLowerCase() === language || known.toLowerCase() === word)
}

/** Words that models write in place of a language. */
const NO_LANGUAGE: ReadonlySet<string> = new Set(["", "code", "exec", "execute", "program", "repl", "run", "script", "snippet", "tool_code"])

function isUnlabelled({ language }: Pick<Fence, "language">): boolean {
  return NO_LANGUAGE.has(language)
}

/** Names of one language: a block marked with one of them was meant to run where another is listed. */
const SAME_LANGUAGE: readonly (readonly string[])[] = [
  ["js", "javascript", "mjs", "cjs", "node", "nodejs", "ecmascript"],
  ["ts", "typescript", "mts", "cts"],
  ["py", "python", "python3", "py3", "ipython", "ipython3"],
  ["sh", "bash", "shell", "zsh"],
  ["rb", "ruby"],
  ["rs", "rust"],
  ["go", "golang"],
  ["ps1", "powershell", "pwsh"],
  ["r", "rscript"],
]

/** Whether a language that is not listed names a listed one in another way, or is a file in one, such as `run.js`. */
function isMeant({ languages }: CodeBlockOptions, language: string): boolean {
  if (language === "") return false
  const name = language.slice(language.lastIndexOf(".") + 1)
  const names = SAME_LANGUAGE.find((each) => each.includes(name)) ?? [name]
  return languages.some((known) => names.includes(known.toLowerCase()))
}

/** Finds the first thing that a reader would take for code to run: in the text up to `until`, or in all of it. */
function findUnread(options: CodeBlockOptions, text: string, fences: readonly Fence[], until?: Fence): Malformed | undefined {
  let position = 0
  for (const fence of fences) {
    const problem =
      findInWords(options, text.slice(position, fence.start)) ?? (fence === until ? findInside(options, fence) : findInBlock(options, fence))
    if (problem !== undefined) return problem
    if (fence === until) return undefined
    position = fence.end
  }
  return findInWords(options, text.slice(position))
}

/** A block that does not run: it may lack its language, have another name for it, or hide a block of code. */
function findInBlock(options: CodeBlockOptions, fence: Fence): Malformed | undefined {
  const { language } = fence
  if (isUnlabelled(fence) && options.unlabelled !== "ignore") {
    const what = language === "" ? "A block has no language" : `"${language}" is not a language`
    return { problem: `${what}: mark code to run ${named(options)}, and other text \`\`\`text.` }
  }
  if (!isUnlabelled(fence) && isMeant(options, language)) {
    return { problem: `A block is marked "${shown(fence.info)}": mark code to run ${named(options)}, and code to show \`\`\`text.` }
  }
  return findInside(options, fence)
}

/** A block of code inside of another one, which is quoted only if the outer fence is longer and closed. */
function findInside(options: CodeBlockOptions, { code, marker, closed }: Fence): Malformed | undefined {
  for (const [line, inner = "", info = ""] of code.matchAll(/^[ \t>*+.)\d-]*(`{3,}|~{3,})(.*)$/gm)) {
    const quoted = closed && (inner.charAt(0) !== marker.charAt(0) || inner.length < marker.length)
    const language = fenceLanguage(info.trim())
    if (!quoted && isMarked(options, { info: info.trim(), language })) {
      return { problem: `A block of code opens inside of another block, which is not closed before it: "${shown(line)}".`, language }
    }
  }
  return undefined
}

/** Fences as models write them: also within a line, indented too far, escaped, or of other quotation marks. */
const LIKE_A_FENCE = /(?:^[ \t>*+.)\d-]*)?((?:\\?`){3,}|~{3,})|^[ \t>]*(?:``?|["'´]{3})(?=[^\s`]+[ \t]*$)/gm
/** The end of a block in one line. */
const ENDS_IN_LINE = /(?:(?:\\?`){3,}|~{3,})[ \t.]*$/
/** Languages of a block in one line that is not code to run. Any other first word may be code. */
const OTHER_LANGUAGES: ReadonlySet<string> = new Set(
  (
    "bash c console cpp cs css csv diff go graphql html http ini java javascript js json json5 jsonc jsonl kotlin latex log lua markdown math md " +
    "mermaid output php plain plaintext ps1 py python r rb rs ruby rust sh shell sql svg swift terminal tex text toml ts tsv txt typescript xml " +
    "yaml yml zsh"
  ).split(" "),
)

/** Finds fences and marks of code in text that is not a fenced block. */
function findInWords(options: CodeBlockOptions, words: string): Malformed | undefined {
  let quoted = false
  for (const { 0: match, 1: fence, index } of words.matchAll(LIKE_A_FENCE)) {
    const alone = fence !== undefined && ["", "\n", "\r"].includes(words.charAt(index - 1))
    const from = index + match.length
    const following = /^.*/.exec(words.slice(from, alone ? undefined : from + MAX_INFO))?.[0] ?? ""
    const info = following.replace(/[`~\\].*$/, "").trim()
    const language = fenceLanguage(info)
    const inLine = ENDS_IN_LINE.test(following.slice(-MAX_INFO))
    const marked = isMarked(options, { info, language }) || (isMeant(options, language) && (alone || !language.includes(".")))
    // Within a line, a fence without a language is a quotation.
    const unlabelled = alone && (inLine ? !OTHER_LANGUAGES.has(language) : isUnlabelled({ language })) && !quoted
    if ((marked && language !== "") || (unlabelled && options.unlabelled !== "ignore")) {
      const problem = `"${shown(match + following)}" looks like a fence, but does not open a block: an opening fence has a line of its own, at most three spaces before it, and at least three backticks.`
      return { problem, language }
    }
    if (alone && !inLine) quoted = !quoted && info !== ""
  }
  for (const [tag, name = ""] of words.matchAll(HTML_CODE)) {
    const language = name.toLowerCase()
    if (isMarked(options, { info: language, language }) || isMeant(options, language)) {
      return { problem: `"${shown(tag)}" does not open a block of code.`, language }
    }
  }
  return undefined
}

/** How much of a line is looked at after a fence within it, in characters: many fences in one line must not take quadratic time. */
const MAX_INFO = 200
const HTML_CODE = /<(?:pre|code)\b[^>\n]{0,200}?\blang(?:uage)?[-=]["']?(\w{1,40})[^>\n]{0,200}>/gi

function named({ languages: [language] }: CodeBlockOptions): string {
  return language === undefined ? "with ``` alone" : `\`\`\`${language}`
}

/** The begin of a line, for a message to the model. */
function shown(line: string): string {
  const text = line.trim()
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`
}
