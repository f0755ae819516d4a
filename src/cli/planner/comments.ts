/** A marker such as TODO in a line, with the text after it. */
export interface Note {
  readonly marker: string
  readonly text: string
  /** Whether it is in a comment; otherwise the line only mentions the marker, for example in a string. */
  readonly inComment: boolean
}

/** How comments are distinguished from code, stated in a report. */
export const COMMENT_RULE =
  'A marker counts as a comment if it follows a comment mark of the file\'s language on the same line, outside of quotes, or starts the line. In prose such as Markdown, it counts if it starts the line or is followed by ":" or "(". Each line is judged separately.'

/** Reads the first marker of a line that is in a comment, or else the first marker. */
export function readNote(path: string, line: string, markers: readonly string[]): Note | undefined {
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])(?:${markers.join("|")})(?![\\p{L}\\p{N}_])`, "gu")
  const notes = [...line.matchAll(pattern)].map((match): Note => {
    const end = match.index + match[0].length
    return { marker: match[0], text: textAfter(line.slice(end)), inComment: isComment(path, line, match.index, end) }
  })
  return notes.find((note) => note.inComment) ?? notes[0]
}

const LANGUAGES: readonly { readonly marks: readonly string[]; readonly endings: string }[] = [
  {
    marks: ["//", "/*"],
    endings:
      "c cc cjs cpp cs cts cu dart fs go gradle groovy h hpp java js json jsonc json5 jsx kt kts less m mjs mm mts proto rs scala scss sol swift ts tsx v zig",
  },
  { marks: ["//", "/*", "#"], endings: "php hcl tf" },
  { marks: ["//", "/*", "<!--"], endings: "astro cshtml html htm svelte vue" },
  { marks: ["/*"], endings: "css" },
  {
    marks: ["#"],
    endings:
      "bash cfg cmake conf cr dockerfile env ex exs fish gitignore jl justfile makefile mk nim nix pl pm properties ps1 py pyi r rake rb sh toml yaml yml zsh",
  },
  { marks: ["--"], endings: "adb ads elm hs lua sql vhd" },
  { marks: ["<!--"], endings: "svg xaml xml xsl" },
  { marks: [";"], endings: "asm clj cljs el lisp scm" },
  { marks: [";", "#"], endings: "ini" },
  { marks: ["%"], endings: "erl hrl sty tex" },
  { marks: ["'"], endings: "bas vb" },
]
const PROSE = new Set("adoc markdown md mdx org rst text txt".split(" "))
const ANY_LANGUAGE: readonly string[] = ["//", "/*", "#", "--", "<!--", ";"]
const MARKS = new Map(LANGUAGES.flatMap(({ marks, endings }) => endings.split(" ").map((ending) => [ending, marks])))

function isComment(path: string, line: string, start: number, end: number): boolean {
  const [before, after] = [line.slice(0, start), line.slice(end)]
  // List marks, quote marks and check boxes may come before a marker that starts a line. Code that starts with such a name continues differently.
  if (/^[\s*>#+@-]*(?:\[[ x]?\]?\s*)?$/i.test(before) && /^(?:\([^)]*\))?(?:\s*[:\]-]+)?(?:\s+\p{L}|\s*$)/u.test(after)) return true
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase()
  const ending = name.slice(name.lastIndexOf(".") + 1)
  if (PROSE.has(ending) || !(name.includes(".") || MARKS.has(ending))) return /^\s*[:(]/.test(after) || before.includes("<!--")
  return hasCommentMark(line, start, MARKS.get(ending) ?? ANY_LANGUAGE)
}

/** Whether one of the marks occurs before `end`, outside of quotes. An unclosed quote is an apostrophe. */
function hasCommentMark(text: string, end: number, marks: readonly string[]): boolean {
  for (let index = 0; index < end; index += 1) {
    const mark = marks.find((candidate) => text.startsWith(candidate, index))
    if (mark !== undefined && canBegin(mark, text.charAt(index - 1))) return true
    const character = text.charAt(index)
    if (character === "\\") index += 1
    else if (character === '"' || character === "'" || character === "`") index = closingQuote(text, index) ?? index
  }
  return false
}

/** The `//` of a URL and the `#` of a colour or an anchor do not start a comment. */
function canBegin(mark: string, before: string): boolean {
  if (mark === "//") return before !== ":"
  return mark === "/*" || mark === "<!--" || mark === "%" || /^\s?$/.test(before)
}

function closingQuote(text: string, opening: number): number | undefined {
  for (let index = opening + 1; index < text.length; index += 1) {
    if (text[index] === "\\") index += 1
    else if (text[index] === text[opening]) return index
  }
  return undefined
}

/** The text after a marker, without leading punctuation and the end of the comment. Keeps a name in parentheses. */
function textAfter(after: string): string {
  return after
    .replace(/\s*(?:\*\/|-->|\*\})\s*$/, "")
    .replace(/^[\s:\-–—,;.!]+/, "")
    .replace(/^(\([^)]*\))\s*:?\s*/, "$1 ")
    .trim()
}
