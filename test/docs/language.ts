import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

/** A phrase that docs, comments and messages avoid. */
export interface AvoidedPhrase {
  readonly pattern: RegExp
  readonly instead: string
}

/** The rows of "Phrases to avoid" in CONTRIBUTING.md, in its order. These are phrases that read as translated; ordinary words stay allowed. */
export const AVOIDED: readonly AvoidedPhrase[] = [
  {
    pattern: /\b(?:tak(?:e|es|en|ing)|took) (?:(?:it|them|this|that|one|an?|the|its|each) (?:\w+ )?)?up\b/i,
    instead: "resume, restore",
  },
  { pattern: /\btold\b|\buntold\b|\btell(?:s|ing)? (?:of|it|that|what|how|an?|everything)\b/i, instead: "emit, report, notify" },
  {
    pattern: /\b(?:is|are|was|were|be|been) (?:durably )?kept (?:before|by|durably|as it comes)\b|\bdurably kept\b|\bkept durably\b/i,
    instead: "persist, record, store",
  },
  { pattern: /\b(?:takes?|taken|taking|took) hold\b/i, instead: "open, acquire" },
  { pattern: /\blet(?:s|ting)? go of\b/i, instead: "close, release" },
  {
    pattern: /\b(?:drivers?|hosts?|it|they|projector|list) orders?\b|\bordered by a driver\b|\ban order (?:that|is|to)\b/i,
    instead: "action (of a driver), command (of a host)",
  },
  { pattern: /\b(?:go|goes|went|gone|going) on\b/i, instead: "continue, resume, fork" },
  { pattern: /\blead(?:s|ing)? on\b|\bled on\b/i, instead: "start work or finish the turn" },
  {
    pattern: /(?<!\bthere )\b(?:is|are|was|were) no (?!longer|more\b|different|better|later|earlier|other)[a-z]/i,
    instead: "is not a …",
  },
  { pattern: /\b(?:has|have|had) not (?:the|an?|its|their|any)\b/i, instead: "does not have …" },
  { pattern: /\b(?:whoever|nobody|somebody)\b/i, instead: "name the actor: the host, the caller, another process" },
  { pattern: /\b(?:is|are|was|were) another(?=[.,:;)]|$)/i, instead: "changed" },
  {
    pattern: /\bbehind (?:it|them|(?:the|its|an?) (?:last|first|end|header|call|answers?|records?|checkpoint|snapshot|finish|block|name))\b/i,
    instead: "after",
  },
  { pattern: /\bwhat (?:is|was) dear\b|\bis dear\b/i, instead: "expensive, the main cost" },
  { pattern: /\bwhat (?:came|comes|has come|became|becomes) of\b/i, instead: "the result" },
  { pattern: /\bwhat (?:it|they|he) (?:made|makes?) of\b/i, instead: "the result" },
  {
    pattern: /\b(?:as (?:it|they)|where (?:it|they|an? \w+)) stands?\b|\bstands? (?:behind|beside|before|at the)\b/i,
    instead: "be, appear",
  },
  { pattern: /\bby (?:itself|themselves)\b|\bof its own accord\b/i, instead: "automatically, alone" },
  { pattern: /\b(?:at hand|in the same breath|in (?:its|their) turn)\b/i, instead: "available, together, in order" },
  { pattern: /\bmend(?:s|ed|ing)?\b/i, instead: "fix" },
  { pattern: /\bmeanwhile\b/i, instead: "name the time: between two polls, before the next checkpoint" },
  { pattern: /\b(?:a|the) (?:good )?moment (?:to|for|at which)\b/i, instead: "time" },
  { pattern: /\b(?:likewise|hereafter|thereby)\b/i, instead: "and, later, so" },
  { pattern: /\b(?:as it were|all the same)\b/i, instead: "still, or nothing" },
  { pattern: /\blook(?:s|ed|ing)? whether\b/i, instead: "check whether" },
]

/** A text that people read, and where it begins. `kind`: a comment, or any other text. */
export interface Passage {
  readonly kind: "comment" | "text"
  readonly file: string
  readonly line: number
  readonly text: string
}

/** Every use of an avoided phrase, as `file:line  the words around it → what to write`. */
export function avoidedIn(passages: readonly Passage[]): readonly string[] {
  return passages.flatMap(({ file, line, text }) =>
    AVOIDED.flatMap(({ pattern, instead }) =>
      [...text.matchAll(acrossLines(pattern))].map(({ 0: words, index }) => {
        const around = text.slice(Math.max(0, index - 30), index + words.length + 20).replaceAll(/\s+/g, " ")
        return `${file}:${line + text.slice(0, index).split("\n").length - 1}  ${around.trim()}  → ${instead}`
      }),
    ),
  )
}

/** A phrase may be broken over two lines. */
function acrossLines({ source }: RegExp): RegExp {
  return new RegExp(source.replaceAll(" ", "\\s+"), "gi")
}

/** A Markdown file without its inline code. */
export function markdownPassages(root: string, file: string): readonly Passage[] {
  const text = readFileSync(join(root, file), "utf8")
  return [{ kind: "text", file, line: 1, text: text.replaceAll(/`[^`\n]+`/g, "`…`") }]
}

/** The comments of every TypeScript file of a folder, and the string literals that have more than one word. */
export function sourcePassages(root: string, folder: string): readonly Passage[] {
  return sourceFiles(root, folder)
    .sort()
    .flatMap((file) => passagesOf(file, readFileSync(join(root, file), "utf8")))
}

/** The TypeScript files of a folder. Links are not followed, and installed packages are not ours. */
function sourceFiles(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : sourceFiles(root, path)
    return entry.isFile() && /\.tsx?$/.test(entry.name) ? [path] : []
  })
}

/** What {@link sourcePassages} gives of one file. */
export function passagesOf(file: string, source: string): readonly Passage[] {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.ES2022, true)
  const passages: Passage[] = []
  const comments = new Map<number, number>()
  const lineAt = (position: number): number => tree.getLineAndCharacterOfPosition(position).line + 1
  const visit = (node: ts.Node): void => {
    const ranges = [...(ts.getLeadingCommentRanges(source, node.getFullStart()) ?? []), ...(ts.getTrailingCommentRanges(source, node.getEnd()) ?? [])]
    for (const { pos, end } of ranges) comments.set(pos, end)
    if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddle(node) || ts.isTemplateTail(node)) {
      if (/[a-z] [a-z]/i.test(node.text)) passages.push({ kind: "text", file, line: lineAt(node.getStart()), text: node.text })
    }
    for (const child of node.getChildren(tree)) visit(child)
  }
  visit(tree)
  return [
    ...passages,
    ...commentPassages(
      file,
      source,
      [...comments].sort(([a], [b]) => a - b),
      lineAt,
    ),
  ]
}

/** Line comments that follow one another are one passage. */
function commentPassages(
  file: string,
  source: string,
  ranges: readonly (readonly [from: number, to: number])[],
  lineAt: (position: number) => number,
): readonly Passage[] {
  const passages: { file: string; line: number; text: string; end: number }[] = []
  for (const [from, to] of ranges) {
    const text = source
      .slice(from, to)
      .replace(/\*\/$/, "")
      .split("\n")
      .map((line) => line.replace(/^\s*(?:\/\*\*?|\/\/|\*)/, ""))
      .join("\n")
    const last = passages.at(-1)
    if (last !== undefined && source.startsWith("//", from) && /^\n\s*$/.test(source.slice(last.end, from))) {
      last.text += `\n${text}`
      last.end = to
    } else {
      passages.push({ file, line: lineAt(from), text, end: to })
    }
  }
  return passages.map(({ file, line, text }) => ({ kind: "comment", file, line, text: text.replaceAll(/`[^`\n]+`/g, "`…`") }))
}
