import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"

/** What a client shows. */
export interface Screen {
  /** The cursor of the last durable event. Absent: there was none. */
  readonly cursor?: string
  readonly transcript: readonly { readonly id: string; readonly role: string; readonly text: string }[]
  /** Inputs that no turn has received. */
  readonly queue: readonly { readonly id: string; readonly text: string }[]
  /** The text of the running model call so far. It is not stored: the completed message has all of it. */
  readonly streamed: string
}

const EMPTY: Screen = { transcript: [], queue: [], streamed: "" }

/** The screen as it was stored last. */
export function readScreen(file: string): Screen {
  try {
    return { ...(JSON.parse(readFileSync(file, "utf8")) as Screen), streamed: "" }
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return EMPTY
    throw error
  }
}

/** Stores the screen and its cursor together, so that a client that is killed shows each event once. */
export function storeScreen(file: string, screen: Screen): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(`${file}.new`, JSON.stringify({ ...screen, streamed: "" }))
  renameSync(`${file}.new`, file)
}
