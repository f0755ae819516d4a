/** Keys of other libraries, and what they are called here. */
type Aliases = { readonly [key: string]: string }

/** The first key of an object that is not known, with a hint: the nearest known key, or the list of all. */
export interface UnknownKey {
  readonly key: string
  /** `did you mean "timeoutMs"?`, or undefined if no known key is near. */
  readonly hint: string | undefined
}

/** Finds the first own key of an object that is not known. A typo, another case or a missing unit still finds the key that was meant. */
export function unknownKey(value: object, known: readonly string[], aliases: Aliases = {}): UnknownKey | undefined {
  const key = Object.keys(value).find((candidate) => !known.includes(candidate))
  if (key === undefined) return undefined
  const meant = Object.hasOwn(aliases, key) ? aliases[key] : nearest(key, known)
  return { key, hint: meant === undefined ? undefined : `did you mean "${meant}"?` }
}

/** The longest key with room for typing errors. A longer one is not similar to any, and comparing it would take long. */
const MAX_COMPARED = 40

function nearest(key: string, known: readonly string[]): string | undefined {
  if (key.length > MAX_COMPARED) return undefined
  const typed = key.toLowerCase()
  const [best] = known
    .map((name) => ({ name, edits: distance(typed, name.toLowerCase()), part: isPart(typed, name.toLowerCase()) }))
    .filter(({ edits, part }) => part || edits <= Math.max(2, key.length / 3))
    .sort((left, right) => left.edits - right.edits)
  return best?.name
}

const SHORTEST_PART = 3

/** Whether one of two names begins or ends with the other, as `retries` and `maxRetries`. */
function isPart(left: string, right: string): boolean {
  const [short, long] = left.length < right.length ? [left, right] : [right, left]
  return short.length >= SHORTEST_PART && (long.startsWith(short) || long.endsWith(short))
}

/** The number of single-character edits between two texts (Levenshtein). */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let index = 1; index <= left.length; index += 1) {
    const next = [index]
    for (let other = 1; other <= right.length; other += 1) {
      const changed = (row[other - 1] as number) + (left[index - 1] === right[other - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[other] as number) + 1, (next[other - 1] as number) + 1))
    }
    row = next
  }
  return row[right.length] as number
}
