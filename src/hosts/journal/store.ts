import { TurnError } from "../../errors.ts"

/**
 * Keeps the texts of journals, by name. One owner at a time may write a journal: whoever opens one is its owner, and from
 * then on no earlier owner can append to it.
 */
export interface JournalStore {
  /**
   * Takes hold of a journal, which need not exist. Without `takeOver` a journal is refused whose owner has not closed it,
   * unless the store knows that this owner is gone; with it, that owner is fenced off: nothing it writes later counts.
   * @throws {JournalStoreError} `in_use`, `unavailable`
   */
  open(name: string, options?: OpenOptions): Promise<StoredJournal>
}

/** How a journal is taken hold of. */
export interface OpenOptions {
  /** Takes the journal from an owner that may still be alive. Default false. */
  readonly takeOver?: boolean
}

/** One journal, held by its owner. Calls may overlap; they take effect in their order. */
export interface StoredJournal {
  /** What was kept when it was opened; "" for a journal that did not exist. Its end may be torn. */
  readonly text: string
  /**
   * Adds text at the end. When it resolves, the text is kept, as durably as the store promises, and this owner was still
   * the owner. When it rejects with `unavailable`, none of the text is kept, and the next one may be tried.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  append(text: string): Promise<void>
  /**
   * Puts a whole text in the place of all that is kept, or leaves it as it is: after any crash it is the one or the other.
   * @throws {JournalStoreError} `fenced`, `closed`, `unavailable`
   */
  replace(text: string): Promise<void>
  /** Lets go of the journal, once all that was asked for is through. A second time does nothing. */
  close(): Promise<void>
}

/** Why a journal cannot be opened or written. */
export type JournalStoreErrorCode = "in_use" | "fenced" | "closed" | "unavailable"

/** A journal that cannot be opened or written. What was kept before is still kept. */
export class JournalStoreError extends TurnError<JournalStoreErrorCode> {}
