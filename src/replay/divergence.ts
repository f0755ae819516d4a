import type { Difference } from "../errors.ts"

/** All places at which two JSON values differ, as JSON pointers, in the order of the recorded one. A missing value is `undefined`. */
export function differences(recorded: unknown, replayed: unknown): readonly Difference[] {
  const found: Difference[] = []
  compare(recorded, replayed, "", found)
  return found
}

function compare(recorded: unknown, replayed: unknown, path: string, found: Difference[]): void {
  if (Object.is(recorded, replayed) || recorded === replayed) return
  if (!isNested(recorded) || !isNested(replayed) || Array.isArray(recorded) !== Array.isArray(replayed)) {
    found.push({ path, recorded, replayed })
    return
  }
  for (const key of new Set([...Object.keys(recorded), ...Object.keys(replayed)])) {
    compare(own(recorded, key), own(replayed, key), `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, found)
  }
}

function isNested(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null
}

function own(value: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : undefined
}
