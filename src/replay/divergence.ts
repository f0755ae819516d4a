import type { Difference } from "../errors.ts"

/**
 * Returns every place at which two JSON values differ, in the order of the expected one. The order of keys does not count.
 * @param path JSON pointer to the two values, which every returned path starts with
 */
export function differences(expected: unknown, received: unknown, path: string = ""): readonly Difference[] {
  const found: Difference[] = []
  compare(expected, received, path, found)
  return found
}

function compare(expected: unknown, received: unknown, path: string, found: Difference[]): void {
  if (expected === received) return
  if (!isNested(expected) || !isNested(received) || Array.isArray(expected) !== Array.isArray(received)) {
    found.push({ path, expected, received })
    return
  }
  for (const key of new Set([...Object.keys(expected), ...Object.keys(received)])) {
    compare(own(expected, key), own(received, key), `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, found)
  }
}

function isNested(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null
}

function own(value: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : undefined
}
