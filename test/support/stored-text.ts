import { textOf } from "../../src/hosts/journal/parts.ts"
import type { JournalStore, OpenOptions, StoredJournal } from "../../src/hosts/journal/store.ts"

/** The text of an open journal. */
export function textIn(journal: Pick<StoredJournal, "read">): Promise<string> {
  return textOf(journal.read())
}

/** Opens a journal, reads its text and closes it. */
export async function openedText(store: Pick<JournalStore, "open">, name: string, options?: OpenOptions): Promise<string> {
  const journal = await store.open(name, options)
  try {
    return await textIn(journal)
  } finally {
    await journal.close()
  }
}

/** Reads the text of a journal without opening it; `undefined` if it does not exist. */
export async function readText(store: Pick<JournalStore, "read">, name: string): Promise<string | undefined> {
  const parts = await store.read(name)
  return parts && textOf(parts)
}

/** An open journal with the text that it had when it was opened. */
export interface OpenedJournal extends StoredJournal {
  readonly text: string
}

/** Opens a journal and reads its text. */
export async function opened(store: Pick<JournalStore, "open">, name: string, options?: OpenOptions): Promise<OpenedJournal> {
  const journal = await store.open(name, options)
  return Object.assign(journal, { text: await textIn(journal) })
}

/** Joins a text that may be in parts. */
export async function wholeText(text: string | AsyncIterable<string>): Promise<string> {
  return typeof text === "string" ? text : textOf(text)
}

/** A text as its only part. */
export function asParts(text: string): AsyncIterable<string>
export function asParts(text: string | undefined): AsyncIterable<string> | undefined
export function asParts(text: string | undefined): AsyncIterable<string> | undefined {
  if (text === undefined) return undefined
  return (async function* () {
    yield text
  })()
}
