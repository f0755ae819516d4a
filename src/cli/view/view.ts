import { spawn } from "node:child_process"
import { readFile, writeFile } from "node:fs/promises"
import { basename, resolve } from "node:path"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import type { ViewedTurn, ViewerData } from "../../viewer/data.ts"
import { GENERATOR, pageOf } from "../../viewer/model/embed.ts"
import { viewedEntries } from "../../viewer/model/journal.ts"
import { redactedPage } from "../../viewer/model/redact.ts"
import { readArgs } from "../terminal/args.ts"
import { CliError } from "../terminal/errors.ts"
import { formatBytes, oneLine, plural, shellWord } from "../terminal/format.ts"
import { printHelp } from "../terminal/help.ts"
import type { Io } from "../terminal/io.ts"
import { type GivenAgent, knowledgeOf, loadAgent } from "./agents.ts"
import { type FoundJournal, findJournals } from "./files.ts"
import { VIEW_HELP } from "./help.ts"

const FLAGS = {
  out: { type: "string" },
  open: { type: "boolean" },
  agent: { type: "string" },
  redact: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const

/** `turn-machine journal view`. Returns the exit code. @throws {CliError} */
export async function viewJournals(args: readonly string[], io: Io): Promise<number> {
  const { values: flags, words } = readArgs(args, FLAGS, "turn-machine journal view --help")
  if (flags.help === true) {
    printHelp(VIEW_HELP, io)
    return 0
  }
  if (words.length === 0) throw new CliError("journal view takes the paths of journals or folders. See: turn-machine journal view --help")
  const template = await readTemplate()
  const agent = flags.agent === undefined ? undefined : await loadAgent(flags.agent, io.cwd)
  const found = await findJournals(words, io.cwd, (why) => io.stderr.write(`${why}\n`))
  const data = viewerData(found, titleOf(words), { agent, redact: flags.redact === true })
  const out = flags.out ?? `${basename(resolve(io.cwd, words[0] ?? "")).replace(/\.(json|jsonl)$/, "")}.html`
  const path = resolve(io.cwd, out)
  const bytes = await writePage(path, out, template, data)
  io.stdout.write(
    `Wrote ${oneLine(out)}: ${plural(data.turns.length, "turn")}, ${formatBytes(bytes)}.${data.redacted === true ? " Texts and arguments are redacted." : ""}\n`,
  )
  for (const [note, [file = "", ...others]] of notesOf(data))
    io.stderr.write(`${oneLine(file)}${others.length > 0 ? ` and ${plural(others.length, "other")}` : ""}: ${note}\n`)
  if (flags.open === true) openPage(path)
  return 0
}

/** What the page cannot show, with the files that it concerns: the turns of a thread often lack the same. */
function notesOf({ turns }: ViewerData): ReadonlyMap<string, readonly string[]> {
  const files = new Map<string, string[]>()
  for (const { damage, file, note } of turns) {
    const text = damage ?? note
    if (text !== undefined) files.set(text, [...(files.get(text) ?? []), file])
  }
  return files
}

/** What a page of these journals has. */
export function viewerData(
  found: readonly FoundJournal[],
  title: string,
  { agent, redact }: { readonly agent?: GivenAgent | undefined; readonly redact: boolean },
): ViewerData {
  const turns = found.map((each): ViewedTurn => {
    const { journal, damage, lineBytes, shown, thread } = each
    const { header, entries, history } = journal
    return {
      file: shown,
      word: shellWord(oneLine(shown)),
      header,
      headerBytes: lineBytes[0] ?? 0,
      entries: viewedEntries(entries, lineBytes),
      ...knowledgeOf(each, agent, redact),
      ...(damage !== undefined && { damage: `Record ${damage.record} is damaged, missing or out of place; it and all later records are lost.` }),
      ...(thread !== undefined && { thread: thread.viewed.threadId }),
      ...(header.base?.surface === true && history?.surface !== undefined && { surface: history.surface }),
    }
  })
  const threads = [...new Set(found.flatMap(({ thread }) => (thread === undefined ? [] : [thread.viewed])))]
  const data: ViewerData = { title, turns, threads }
  return redact ? redactedPage(data) : data
}

function titleOf(words: readonly string[]): string {
  return words.map((word) => oneLine(word)).join(", ")
}

/** The page without data. It is made when the package is built. */
async function readTemplate(): Promise<string> {
  // The second place is that of a checkout, whose sources run without being built.
  for (const place of ["../../viewer/page.html", "../../../dist/viewer/page.html"]) {
    const text = await readFile(new URL(place, import.meta.url), "utf8").catch(() => undefined)
    if (text !== undefined) return text
  }
  throw new CliError("The viewer's page is missing from this installation. In a checkout, run: npm run build")
}

async function writePage(path: string, shown: string, template: string, data: ViewerData): Promise<number> {
  let page: string
  try {
    page = pageOf(template, data)
  } catch (error) {
    if (error instanceof RangeError) throw new CliError("The journals are too large for one page. View fewer of them.")
    throw error
  }
  const before = await readFile(path, "utf8").catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return undefined
    throw new CliError(`${oneLine(shown)} cannot be written: ${fileReason(error)}. Pass another path with --out.`)
  })
  if (before !== undefined && !before.slice(0, 2_000).includes(`content="${GENERATOR}"`))
    throw new CliError(`${oneLine(shown)} already exists and is not a page of this program, so it was not replaced. Pass another path with --out.`)
  try {
    // As private as a journal.
    await writeFile(path, page, { mode: 0o600 })
  } catch (error) {
    const reason = errorCode(error) === "ENOENT" ? "its folder does not exist" : fileReason(error)
    throw new CliError(`${oneLine(shown)} cannot be written: ${reason}. Pass another path with --out.`)
  }
  return Buffer.byteLength(page)
}

function openPage(path: string): void {
  const [program, ...args] = process.platform === "darwin" ? ["open"] : process.platform === "win32" ? ["cmd", "/c", "start", ""] : ["xdg-open"]
  const child = spawn(program ?? "xdg-open", [...args, path], { stdio: "ignore", detached: true })
  // Without a desktop there is nothing to open it with; the page is written.
  child.on("error", () => {})
  child.unref()
}
