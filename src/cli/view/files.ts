import { readdir, stat } from "node:fs/promises"
import { basename, dirname, join, relative, resolve } from "node:path"
import { TurnError } from "../../errors.ts"
import { LogLines } from "../../hosts/journal/log-lines.ts"
import { isControlName } from "../../hosts/journal/store.ts"
import { logReader, ThreadLog } from "../../hosts/journal/thread-log.ts"
import { readJudged } from "../../hosts/judge/judged-thread.ts"
import { fileJournalStore } from "../../hosts/node/file-journal-store.ts"
import { isBelow } from "../../hosts/run/child-place.ts"
import type { Json } from "../../json.ts"
import type { ViewedThread } from "../../viewer/data.ts"
import type { ThreadTurnBegun } from "../../wire/thread.ts"
import { findText, type JournalFile, readJournalFile } from "../run/journal-file.ts"
import { CliError } from "../terminal/errors.ts"
import { oneLine } from "../terminal/format.ts"

/** A journal that was found, with the thread that it belongs to. */
export interface FoundJournal extends JournalFile {
  readonly path: string
  /** The path as the reader gave it, or below what they gave. */
  readonly shown: string
  readonly thread: FoundThread | undefined
}

/** A thread's log beside a journal. */
export interface FoundThread {
  readonly viewed: ViewedThread
  readonly meta: Json | undefined
  readonly begun: ReadonlyMap<string, ThreadTurnBegun>
}

/**
 * Finds the journals of the given files and folders: each with its children, and of a folder all that are in it. The turns of a thread are in
 * their order. `onUnread` receives why a journal that was not given by its own path cannot be read; the others are found.
 * @throws {CliError} a path cannot be read, or there is no journal
 */
export async function findJournals(
  words: readonly string[],
  cwd: string,
  onUnread: (why: string) => void = () => {},
): Promise<readonly FoundJournal[]> {
  const found = new Map<string, FoundJournal>()
  const unread = new Set<string>()
  const threads = new Map<string, FoundThread | undefined>()
  const add = async (path: string, shown: string): Promise<void> => {
    if (found.has(path)) return
    const file = await readJournalFile(path, oneLine(shown))
    const { base } = file.journal.header
    const log = base === undefined ? threadOf(file.journal.header.turnId, basename(path)) : base.log
    found.set(path, { ...file, path, shown, thread: log === undefined ? undefined : await threadAt(join(dirname(path), log), threads) })
    for (const name of (await namesIn(dirname(path))).filter((other) => other !== basename(path) && isBelow(basename(path), other)))
      await addFound(join(dirname(path), name), join(dirname(shown), name))
  }
  const addFound = async (path: string, shown: string): Promise<void> => {
    if (unread.has(path)) return
    try {
      await add(path, shown)
    } catch (error) {
      if (!(error instanceof CliError)) throw error
      unread.add(path)
      onUnread(error.message)
    }
  }
  for (const word of words) {
    const path = resolve(cwd, word)
    const stats = await stat(path).catch(() => undefined)
    if (stats?.isDirectory() !== true) await add(path, word)
    else for (const name of await journalsIn(path)) await addFound(join(path, name), join(word, name))
  }
  if (found.size === 0) throw new CliError(`There is no journal${unread.size > 0 ? " that can be read" : ""} in ${words.map(oneLine).join(", ")}.`)
  return [...found.values()]
}

/** The journal of a thread's turn has the turn's id as its name, and the log has the thread's. */
function threadOf(turnId: string, name: string): string | undefined {
  const dot = turnId.lastIndexOf(".")
  return name === turnId && dot > 0 ? `${turnId.slice(0, dot)}.thread` : undefined
}

async function namesIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => [])
  return names.filter((name) => !isControlName(name)).sort(inNumberOrder)
}

/** The names of the journals in a folder, without those of children, which follow their parents. */
async function journalsIn(folder: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const name of await namesIn(folder)) {
    const text = await findText(join(folder, name)).catch(() => undefined)
    if (text !== undefined && /^\["[0-9a-f]{8}",\{"type":"header","format":"turn-machine\/journal"/.test(text.beginning)) found.push(name)
  }
  return found.filter((name) => !found.some((other) => other !== name && isBelow(other, name)))
}

/** `goal.2` is before `goal.10`. */
function inNumberOrder(left: string, right: string): number {
  return left.localeCompare(right, "en", { numeric: true })
}

async function threadAt(path: string, known: Map<string, FoundThread | undefined>): Promise<FoundThread | undefined> {
  if (!known.has(path)) known.set(path, await readThread(path))
  return known.get(path)
}

/** Reads a log; `undefined` if there is none that can be read. */
async function readThread(path: string): Promise<FoundThread | undefined> {
  const store = fileJournalStore(dirname(path))
  try {
    const parts = await store.read(basename(path))
    if (parts === undefined) return undefined
    const log = await ThreadLog.read(parts)
    if (log.header === undefined) return undefined
    const { threadId, meta } = log.header
    const begun = new Map<string, ThreadTurnBegun>()
    const ended = new Map<string, number>()
    const reader = logReader(new LogLines(), (record) => {
      if (record.type === "turn_begun") begun.set(record.turnId, record)
      if (record.type === "turn_ended") ended.set(record.turnId, record.at)
    })
    for await (const part of (await store.read(basename(path))) ?? []) reader.push(part)
    const checklist = await readJudged(store, threadId).catch(() => undefined)
    const turns = [...begun.values()].map(({ turnId, at, origin }) => {
      const endedAt = ended.get(turnId)
      return { turnId, at, origin, ...(endedAt !== undefined && { endedAt }) }
    })
    const viewed = { threadId, records: log.history, turns, ...(checklist?.goal !== undefined && { checklist }) }
    return { viewed, meta, begun }
  } catch (error) {
    if (error instanceof TurnError) return undefined
    throw error
  }
}

/** A path below the working folder is shown from there. */
export function shownPath(path: string, cwd: string): string {
  const below = relative(cwd, path)
  return below.startsWith("..") ? path : below
}
