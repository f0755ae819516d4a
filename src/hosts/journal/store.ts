import { TurnError } from "../../errors.ts"
import { sleep } from "../timers.ts"

/**
 * Stores the texts of journals, by name. A journal has one owner at a time: the last caller that opened it. Earlier owners can no
 * longer write to it. Texts are read and replaced in parts, so a journal may be longer than a string can be. A part does not end
 * within a surrogate pair.
 *
 * A name is refused as `invalid_name` in every store if it is empty, contains a zero character or a lone surrogate, or has a
 * component (between `/`, and in files on Windows `\`) that ends in `.lock` or `.tmp`: these are names of control files.
 */
export interface JournalStore {
  /**
   * Opens a journal exclusively, creating it if needed. A journal that another owner has not closed is refused, unless the store
   * knows that this owner is gone. With `takeOver` that owner is fenced off instead: nothing it writes later is stored.
   * @throws {JournalStoreError} `in_use`, `invalid_name`, `unavailable`
   */
  open(name: string, options?: OpenOptions): Promise<StoredJournal>
  /**
   * Reads a journal without opening it, also while it has an owner. Writes nothing, and needs no free disk space. Resolves to the
   * text's parts, as of one moment, which may end in an incomplete line; `undefined`: the journal does not exist.
   * @throws {JournalStoreError} `invalid_name`, `unavailable`; the iteration may throw `unavailable`
   */
  read(name: string): Promise<AsyncIterable<string> | undefined>
  /**
   * Lists the names of all journals, in the order of their UTF-16 code units. Journals that are created or deleted during the
   * iteration may be missing or listed.
   * @throws {JournalStoreError} `unavailable`
   */
  list(options?: ListOptions): AsyncIterable<string>
  /**
   * Deletes a journal. Does nothing if there is none.
   * @throws {JournalStoreError} `in_use` while it has an owner, `invalid_name`, `unavailable`
   */
  delete(name: string): Promise<void>
}

/** Options of {@link JournalStore.open}. */
export interface OpenOptions {
  /** Takes the journal from an owner that may still be alive. Default false. */
  readonly takeOver?: boolean
  /**
   * How long to wait for an owner that has the journal open: until it closes the journal, or is known to be gone. Milliseconds.
   * Default 0: `in_use` at once.
   */
  readonly waitMs?: number
}

/** Options of {@link JournalStore.list}. */
export interface ListOptions {
  /** Lists only names that begin with it. */
  readonly prefix?: string
}

/** An open journal. Calls may overlap; they take effect in the order in which they were made. */
export interface StoredJournal {
  /**
   * Reads the stored text in parts, as it is when the iteration begins: at first the text of earlier owners, "" for a new journal.
   * It may end in an incomplete line.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`, from the iteration
   */
  read(): AsyncIterable<string>
  /**
   * Adds text at the end. Resolves when the text is stored, as durably as the store promises, and this owner was still the owner.
   * After a rejection with `unavailable` none of the text is stored, and the call can be repeated.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  append(text: string): Promise<void>
  /**
   * Replaces the whole text atomically: after a crash the journal holds either the old text or the new one. The parts may come from
   * {@link read}. If their iteration throws, the text is unchanged and the call rejects with that error.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  replace(text: string | AsyncIterable<string>): Promise<void>
  /** Closes the journal after all pending writes. Idempotent. */
  close(): Promise<void>
}

/** Why a journal cannot be opened or written. */
export type JournalStoreErrorCode = "in_use" | "fenced" | "closed" | "invalid_name" | "unavailable" | "not_decrypted"

/** The owner of a journal, as far as the store knows it. */
export interface JournalOwner {
  /** Process id. */
  readonly pid?: number
  /** Name of the host that the process runs on. */
  readonly host?: string
  /** When the owner opened the journal. Milliseconds since the epoch, by the owner's clock. */
  readonly since?: number
}

/** Facts of a {@link JournalStoreError}. */
export interface JournalStoreErrorOptions extends ErrorOptions {
  readonly owner?: JournalOwner | undefined
  readonly retryAfterMs?: number | undefined
}

/** A journal that cannot be opened or written. Text that was stored before is unchanged. */
export class JournalStoreError extends TurnError<JournalStoreErrorCode> {
  /** For `in_use`: the owner that has the journal open; `undefined` where nothing is known about it. */
  readonly owner: JournalOwner | undefined
  /**
   * For `in_use`: in how many milliseconds an owner that gives no more sign of life counts as gone, so that the journal can be
   * opened. `undefined`: not after any time.
   */
  readonly retryAfterMs: number | undefined

  constructor(code: JournalStoreErrorCode, message: string, { owner, retryAfterMs, ...options }: JournalStoreErrorOptions = {}) {
    super(code, message, options)
    this.owner = owner
    this.retryAfterMs = retryAfterMs
  }
}

/** Refuses to open a journal that has an owner. `state` completes "Journal … is"; `remedy` is the second sentence. */
export function inUse(
  name: string,
  owner?: JournalOwner,
  state = "already open",
  remedy = "Close it, wait for that with waitMs, or pass takeOver if its owner is gone.",
  retryAfterMs?: number,
): JournalStoreError {
  return new JournalStoreError("in_use", `Journal ${JSON.stringify(name)} is ${state}. ${remedy}`, {
    owner,
    retryAfterMs: retryAfterMs === undefined ? undefined : Math.ceil(retryAfterMs),
  })
}

/** What to do about an owner that counts as gone after some time. */
export function ifGone(retryAfterMs: number): string {
  return `If its owner is gone, it can be opened in ${Math.ceil(retryAfterMs / 1000)} s: wait with waitMs, or pass takeOver.`
}

/** Refuses a write of an owner that was fenced off. */
export function fenced(name: string): JournalStoreError {
  return new JournalStoreError("fenced", `Another owner took over journal ${JSON.stringify(name)}. This one can no longer write to it.`)
}

/** Refuses a write to a closed journal. */
export function closed(name: string): JournalStoreError {
  return new JournalStoreError("closed", `Journal ${JSON.stringify(name)} is closed. Open it again to write to it.`)
}

/** A component that names a lock, the folder from which one is made, or a temporary file. Windows ignores dots and spaces at the end. */
const CONTROL_NAME = /\.(?:lock(?:\.[0-9a-f]{16})?|tmp)[. ]*$/

/** Whether a component of a name belongs to the control files of a store, also on a file system that ignores case. */
export function isControlName(component: string): boolean {
  return CONTROL_NAME.test(component.normalize().toLowerCase())
}

/** Refuses a name that no store accepts. @throws {JournalStoreError} `invalid_name` */
export function checkName(name: string, separator: RegExp = /\//): void {
  const fault = faultOf(name, separator)
  if (fault === undefined) return
  throw new JournalStoreError("invalid_name", `${JSON.stringify(name)} cannot be the name of a journal: ${fault}. Choose another name.`)
}

function faultOf(name: string, separator: RegExp): string | undefined {
  if (name === "") return "it is empty"
  if (name.includes("\0")) return "it contains a zero character"
  if (/\p{Surrogate}/u.test(name)) return "it contains half of a surrogate pair"
  const control = name.split(separator).find(isControlName)
  return control === undefined ? undefined : `${JSON.stringify(control)} is a name of control files`
}

/** How often an owner is looked for again while `open` waits. */
const WAIT_STEP_MS = 200

/**
 * Opens a journal, and again until it is free or `waitMs` are over.
 * @throws {RangeError} `waitMs` is not a number of at least 0
 */
export async function openWaiting<Opened>(
  open: () => Opened | Promise<Opened>,
  waitMs = 0,
  wait: (ms: number) => Promise<void> = sleep,
): Promise<Opened> {
  if (!(waitMs >= 0)) throw new RangeError(`waitMs must be at least 0, not ${waitMs}.`)
  for (let left = waitMs; ; left -= WAIT_STEP_MS) {
    try {
      return await open()
    } catch (error) {
      if (left <= 0 || !(error instanceof JournalStoreError) || error.code !== "in_use") throw error
    }
    await wait(Math.min(left, WAIT_STEP_MS))
  }
}
