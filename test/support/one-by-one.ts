import type { TurnLog } from "../../src/hosts/host.ts"

/** A log that writes each response alone, so that a fault in `response` meets all of them. */
export function oneByOne(log: TurnLog): TurnLog {
  return new Proxy(log, {
    get(inner, name) {
      if (name === "responses") return undefined
      const member: unknown = Reflect.get(inner, name)
      return typeof member === "function" ? member.bind(inner) : member
    },
  })
}
