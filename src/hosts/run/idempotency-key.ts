/**
 * The key of a piece of work from the ids that identify it. Ids are joined by colons; `%` and `:` inside an id are escaped as in a URL, so
 * different ids never give the same key.
 */
export function idempotencyKey(...ids: readonly (string | number)[]): string {
  return ids.map((id) => String(id).replace(/[%:]/g, (character) => (character === "%" ? "%25" : "%3A"))).join(":")
}
