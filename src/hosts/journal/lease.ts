import { ifGone, inUse, type JournalOwner, JournalStoreError } from "./store.ts"

/** How long an owner has a journal in a database without a sign of life. Each write and a timer renew the lease. Milliseconds. */
export const LEASE_MS = 30_000
/** How often the timer renews a lease of {@link LEASE_MS}. Milliseconds. */
export const RENEW_MS = 10_000

/** Refuses to open or delete a journal whose owner has a lease for `retryAfterMs` milliseconds more. */
export function leased(name: string, owner: JournalOwner | undefined, retryAfterMs: number): JournalStoreError {
  return inUse(name, owner, "already open", `Close it. ${ifGone(retryAfterMs)}`, retryAfterMs)
}

/** A journal that a database cannot read or write. `what` cannot be `action`. */
export function unavailable(what: string, action: string, cause: unknown): JournalStoreError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new JournalStoreError("unavailable", `${what} cannot be ${action}: ${why}.`, { cause })
}

/** A journal in messages. */
export function journalNamed(name: string): string {
  return `Journal ${JSON.stringify(name)}`
}
