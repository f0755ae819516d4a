import { digest } from "../../replay/digest.ts"

/** Between the prefix of a server and the name of its tool. */
const SEPARATOR = "__"
const MAX_NAME = 64

/** Whether a text can be a prefix. The names of servers with different prefixes never meet: a prefix has no separator, and does not end with a part of one. */
export function isPrefix(prefix: string): boolean {
  return /^[A-Za-z0-9-](?:[A-Za-z0-9-]|_(?=[A-Za-z0-9-])){0,31}$/.test(prefix)
}

/**
 * The name that a model is shown for a tool of a server: 1 to 64 letters from A to Z, digits, `_` and `-`, as model APIs require. A name that
 * does not fit ends with digits of its digest. It depends on the tool's own name and the prefix alone, so that it is the same in every process,
 * whatever other tools there are.
 */
export function shownName(name: string, prefix: string | undefined): string {
  const start = prefix === undefined ? "" : `${prefix}${SEPARATOR}`
  if (/^[\w-]+$/.test(name) && start.length + name.length <= MAX_NAME) return start + name
  const words = name
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .match(/[\w-]+/g) ?? ["tool"]
  const end = `_${digest(name).slice(0, 8)}`
  return `${start}${words.join("_").slice(0, MAX_NAME - start.length - end.length)}${end}`
}

/** Whether a tool with this name is of the server with a prefix. */
export function hasPrefix(name: string, prefix: string): boolean {
  return name.startsWith(`${prefix}${SEPARATOR}`)
}
