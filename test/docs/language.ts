import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

/** A phrase that docs, comments and messages avoid. `like`: sentences that contain it. */
export interface AvoidedPhrase {
  readonly pattern: RegExp
  readonly instead: string
  readonly like: readonly string[]
}

/** The phrases of the glossary's last table, in its order. Ordinary words stay allowed: only what reads as translated is here. */
export const AVOIDED: readonly AvoidedPhrase[] = [
  {
    pattern: /\b(?:tak(?:e|es|en|ing)|took) (?:(?:it|them|this|that|one|an?|the|its|each) (?:\w+ )?)?up\b/i,
    instead: "resume, restore",
    like: ["It takes the turn up.", "A turn is taken up."],
  },
  { pattern: /\btold\b|\buntold\b|\btell(?:s|ing)? (?:of|it|that|what|how|an?|everything)\b/i, instead: "emit, report, notify", like: ["Events are told."] },
  {
    pattern: /\b(?:is|are|was|were|be|been) (?:durably )?kept (?:before|by|durably|as it comes)\b|\bdurably kept\b|\bkept durably\b/i,
    instead: "persist, record, store",
    like: ["Each answer is kept before it is used."],
  },
  { pattern: /\b(?:takes?|taken|taking|took) hold\b/i, instead: "open, acquire", like: ["It takes hold of a journal."] },
  { pattern: /\blet(?:s|ting)? go of\b/i, instead: "close, release", like: ["It lets go of the lock."] },
  {
    pattern: /\b(?:drivers?|hosts?|it|they|projector|list) orders?\b|\bordered by a driver\b|\ban order (?:that|is|to)\b/i,
    instead: "action (of a driver), command (of a host)",
    like: ["What the driver orders."],
  },
  { pattern: /\b(?:go|goes|went|gone|going) on\b/i, instead: "continue, resume, fork", like: ["The turn goes on.", "It went on with that."] },
  { pattern: /\blead(?:s|ing)? on\b|\bled on\b/i, instead: "start work or finish", like: ["Every list must lead on."] },
  {
    pattern: /(?<!\bthere )\b(?:is|are|was|were) no (?!longer|more\b|different|better|later|earlier|other)[a-z]/i,
    instead: "is not a …",
    like: ["That is no response.", "It is no agent framework."],
  },
  { pattern: /\b(?:has|have|had) not (?:the|an?|its|their|any)\b/i, instead: "does not have …", like: ["A value has not the shape."] },
  { pattern: /\b(?:whoever|nobody|somebody)\b/i, instead: "the host, the caller, another process", like: ["Whoever keeps keys.", "Nobody waits."] },
  { pattern: /\b(?:is|are|was|were) another(?=[.,:;)]|$)/i, instead: "changed", like: ["The objective is another."] },
  {
    pattern: /\bbehind (?:it|them|(?:the|its|an?) (?:last|first|end|header|call|answers?|records?|checkpoint|snapshot|finish|block|name))\b/i,
    instead: "after",
    like: ["The record behind the header."],
  },
  { pattern: /\bwhat (?:is|was) dear\b|\bis dear\b/i, instead: "expensive", like: ["The copy is dear."] },
  { pattern: /\bwhat (?:came|comes|has come|became|becomes) of\b/i, instead: "the result", like: ["It returns what came of it."] },
  { pattern: /\bwhat (?:it|they|he) (?:made|makes?) of\b/i, instead: "the result", like: ["And what it made of them."] },
  {
    pattern: /\b(?:as (?:it|they)|where (?:it|they|an? \w+)) stands?\b|\bstands? (?:behind|beside|before|at the)\b/i,
    instead: "be, appear",
    like: ["Where a turn stands.", "It shows the thread as it stands."],
  },
  { pattern: /\bby (?:itself|themselves)\b|\bof its own accord\b/i, instead: "automatically", like: ["It starts by itself."] },
  { pattern: /\b(?:at hand|in the same breath|in (?:its|their) turn)\b/i, instead: "available, together, in order", like: ["The value is at hand."] },
  { pattern: /\bmend(?:s|ed|ing)?\b/i, instead: "fix", like: ["Mend the client."] },
  { pattern: /\bmeanwhile\b/i, instead: "a time: between two polls, before the next checkpoint", like: ["What came in meanwhile."] },
  { pattern: /\b(?:a|the) (?:good )?moment (?:to|for|at which)\b/i, instead: "a time", like: ["The moment at which a host saves."] },
  { pattern: /\b(?:likewise|hereafter|thereby)\b/i, instead: "and, later, so", like: ["It fails likewise."] },
  { pattern: /\b(?:as it were|all the same)\b/i, instead: "nothing, still", like: ["It works all the same."] },
  { pattern: /\blook(?:s|ed|ing)? whether\b/i, instead: "check whether", like: ["Look whether it is there."] },
]

/** A text that people read, and where it begins. */
export interface Passage {
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
  return [{ file, line: 1, text: text.replaceAll(/`[^`\n]+`/g, "`…`") }]
}

/** The comments and the sentences among the string literals of every TypeScript file of a folder. */
export function sourcePassages(root: string, folder: string, leftOut: (file: string) => boolean = () => false): readonly Passage[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"))
  return names
    .sort()
    .map((name) => `${folder}/${name}`)
    .filter((file) => !leftOut(file))
    .flatMap((file) => passagesOf(file, readFileSync(join(root, file), "utf8")))
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
      if (/[a-z] [a-z]/i.test(node.text)) passages.push({ file, line: lineAt(node.getStart()), text: node.text })
    }
    for (const child of node.getChildren(tree)) visit(child)
  }
  visit(tree)
  return [...passages, ...commentPassages(file, source, [...comments].sort(([a], [b]) => a - b), lineAt)]
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
  return passages.map(({ file, line, text }) => ({ file, line, text: text.replaceAll(/`[^`\n]+`/g, "`…`") }))
}
