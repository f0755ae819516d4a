import type { Difference } from "../errors.ts"
import { describeInput, type TurnInput } from "./turn-input.ts"

/**
 * A law that an explored turn broke: which, where, and the shortest inputs that lead there. `path` is plain JSON: given to
 * `exploreTurn` as its `path`, it breaks the law again; given to `expectTurn` as its inputs, it plays the turn.
 */
export class ExplorationError extends Error {
  /** A key of `LAWS`, or the name of one of the caller's laws. */
  readonly law: string
  readonly where: string
  readonly difference: Difference | undefined
  readonly path: readonly TurnInput[]

  constructor(law: string, where: string, what: string, path: readonly TurnInput[], difference?: Difference, options?: ErrorOptions) {
    super(`${what}\n\n${describePath(path)}`, options)
    this.name = "ExplorationError"
    this.law = law
    this.where = where
    this.difference = difference
    this.path = path
  }
}

/** The inputs line by line: first in words, then as JSON to replay. */
function describePath(path: readonly TurnInput[]): string {
  const given = path.filter(({ type }) => type !== "poll")
  const count = given.length === 1 ? "1 input leads" : `${given.length} inputs lead`
  const words = given.map((input, index) => `  ${index + 1}. ${describeInput(input)}`)
  const json = path.map((input) => `  ${JSON.stringify(input)}`).join(",\n")
  return [`${count} there, each followed by polls:`, ...words, "To replay them, pass this as `path`:", `[\n${json}\n]`].join("\n")
}
