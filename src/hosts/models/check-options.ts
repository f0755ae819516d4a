import { unknownKey } from "../../unknown-key.ts"

/**
 * Refuses an option that is not known, which would be ignored: a client made with `apikey` would send no key.
 * @param name the function that takes the options
 * @param aliases names of other libraries, and what they are called here
 * @throws {TypeError}
 */
export function checkKnown(name: string, options: object, known: readonly string[], aliases?: { readonly [key: string]: string }): void {
  const unknown = unknownKey(options, known, aliases)
  if (unknown === undefined) return
  const { key, hint = `the options are ${known.join(", ")}.` } = unknown
  throw new TypeError(`${name} has the unknown option ${JSON.stringify(key)}; ${hint}`)
}

/**
 * Refuses a limit that is not a number of at least 0. NaN would make retries endless and waits empty, because every comparison with it is false.
 * @throws {RangeError}
 */
export function checkLimits<Name extends string>(options: { readonly [Key in Name]?: number }, names: readonly Name[]): void {
  for (const name of names) {
    const value: number = options[name] ?? 0
    if (!(value >= 0)) throw new RangeError(`${name} must be a number of at least 0, not ${value}.`)
  }
}
