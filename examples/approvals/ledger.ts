import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs"
import { dirname } from "node:path"

/** One payment. `key` is the idempotency key of the call that paid. */
export interface Payment {
  readonly key: string
  readonly to: string
  readonly euros: number
}

/** The bank of the example: a file with one line for each payment. It pays twice if it is asked twice. */
export interface Ledger {
  readonly payments: readonly Payment[]
  pay(payment: Payment): void
  find(key: string): Payment | undefined
}

export function fileLedger(path: string): Ledger {
  const read = (): readonly Payment[] =>
    existsSync(path)
      ? readFileSync(path, "utf8")
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => JSON.parse(line) as Payment)
      : []
  return {
    get payments() {
      return read()
    },
    pay({ key, to, euros }) {
      mkdirSync(dirname(path), { recursive: true })
      appendFileSync(path, `${JSON.stringify({ key, to, euros })}\n`)
    },
    find: (key) => read().find((payment) => payment.key === key),
  }
}
