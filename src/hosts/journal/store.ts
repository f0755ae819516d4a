import { TurnError } from "../../errors.ts"

/**
 * Stores the texts of journals, by name. A journal has one owner at a time: the last caller that opened it. Earlier owners can no
 * longer write to it.
 */
export interface JournalStore {
  /**
   * Opens a journal exclusively, creating it if needed. A journal that another owner has not closed is refused, unless the store
   * knows that this owner is gone. With `takeOver` that owner is fenced off instead: nothing it writes later is stored.
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  open(name: string, options?: OpenOptions): Promise<StoredJournal>
}

/** Options of {@link JournalStore.open}. */
export interface OpenOptions {
  /** Takes the journal from an owner that may still be alive. Default false. */
  readonly takeOver?: boolean
}

/** An open journal. Calls may overlap; they take effect in the order in which they were made. */
export interface StoredJournal {
  /** The stored text when the journal was opened; "" for a new journal. It may end in an incomplete line. */
  readonly text: string
  /**
   * Adds text at the end. Resolves when the text is stored, as durably as the store promises, and this owner was still the owner.
   * After a rejection with `unavailable` none of the text is stored, and the call can be repeated.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  append(text: string): Promise<void>
  /**
   * Replaces the whole text atomically: after a crash the journal holds either the old text or the new one.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  replace(text: string): Promise<void>
  /** Closes the journal after all pending writes. Idempotent. */
  close(): Promise<void>
}

/** Why a journal cannot be opened or written. */
export type JournalStoreErrorCode = "in_use" | "fenced" | "closed" | "unavailable"

/** The owner of a journal, as far as the store knows it. */
export interface JournalOwner {
  /** Process id. */
  readonly pid?: number
  /** Name of the host that the process runs on. */
  readonly host?: string
  /** When the owner opened the journal. Milliseconds since the epoch, by the owner's clock. */
  readonly since?: number
}

/** A journal that cannot be opened or written. Text that was stored before is unchanged. */
export class JournalStoreError extends TurnError<JournalStoreErrorCode> {
  /** For `in_use`: the owner that has the journal open; `undefined` where nothing is known about it. */
  readonly owner: JournalOwner | undefined

  constructor(
    code: JournalStoreErrorCode,
    message: string,
    { owner, ...options }: ErrorOptions & { readonly owner?: JournalOwner | undefined } = {},
  ) {
    super(code, message, options)
    this.owner = owner
  }
}

/** Refuses to open a journal that has an owner. `state` completes "Journal … is"; `remedy` is the second sentence. */
export function inUse(
  name: string,
  owner?: JournalOwner,
  state = "already open",
  remedy = "Close it, or pass takeOver if its owner is gone.",
): JournalStoreError {
  return new JournalStoreError("in_use", `Journal ${JSON.stringify(name)} is ${state}. ${remedy}`, { owner })
}

/** Refuses a write of an owner that was fenced off. */
export function fenced(name: string): JournalStoreError {
  return new JournalStoreError("fenced", `Another owner took over journal ${JSON.stringify(name)}. This one can no longer write to it.`)
}

/** Refuses a write to a closed journal. */
export function closed(name: string): JournalStoreError {
  return new JournalStoreError("closed", `Journal ${JSON.stringify(name)} is closed. Open it again to write to it.`)
}
