/**
 * The key of a piece of work from the ids that identify it. Ids are joined by colons; `%` and `:` inside an id are escaped as in a URL, so
 * different ids never give the same key.
 */
export function idempotencyKey(...ids: readonly (string | number)[]): string {
  let key = ""
  for (let index = 0; index < ids.length; index += 1) key += index === 0 ? escaped(ids[index]) : `:${escaped(ids[index])}`
  return key
}

function escaped(id: string | number | undefined): string {
  const text = String(id)
  return /[%:]/.test(text) ? text.replaceAll("%", "%25").replaceAll(":", "%3A") : text
}
