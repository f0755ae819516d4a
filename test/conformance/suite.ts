import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, test } from "vitest"
import type { Json } from "../../src/schemas/json.ts"

const FIXTURES = fileURLToPath(new URL("../fixtures/conformance", import.meta.url))

/** The common fields of every scenario file. */
export interface Scenario {
  readonly name: string
  /** The purpose of the scenario, in one of two fields. A random scenario has neither. */
  readonly rule?: string
  readonly about?: string
}

/** Runs one test per scenario file of a suite, from `CONFORMANCE_DIR` if it is set, else from the fixtures. */
export function runSuite<Kind extends Scenario>(suite: string, run: (scenario: Kind) => void): void {
  const folder = join(process.env["CONFORMANCE_DIR"] ?? FIXTURES, suite)
  const files = readdirSync(folder).filter((file) => file.endsWith(".json"))
  if (files.length === 0) throw new Error(`No scenarios in ${folder}`)
  describe(`conformance: ${suite}`, () => {
    for (const file of files.sort()) {
      const scenario = JSON.parse(readFileSync(join(folder, file), "utf8")) as Kind
      test(scenario.name, () => {
        try {
          run(scenario)
        } catch (error) {
          const rule = scenario.rule ?? scenario.about ?? "a random scenario, made to show no rule in particular"
          throw new Error(`${scenario.name}: ${rule}\n${error instanceof Error ? error.message : String(error)}`, { cause: error })
        }
      })
    }
  })
}

/** Compares as JSON values and names the first path at which they differ. */
export function expectSame(received: unknown, expected: unknown, where: string): void {
  const difference = firstDifference(plain(received), plain(expected), "")
  if (difference === undefined) return
  const { path, left, right } = difference
  throw new Error(`${where} differs first at "${path}":\n  expected ${show(right)}\n  received ${show(left)}`)
}

function plain(value: unknown): Json | undefined {
  const text: string | undefined = JSON.stringify(value)
  return text === undefined ? undefined : (JSON.parse(text) as Json)
}

function show(value: Json | undefined): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 600)
}

interface Difference {
  readonly path: string
  readonly left: Json | undefined
  readonly right: Json | undefined
}

function firstDifference(left: Json | undefined, right: Json | undefined, path: string): Difference | undefined {
  if (left === right) return undefined
  const nested = typeof left === "object" && typeof right === "object" && left !== null && right !== null
  if (!nested || left === undefined || right === undefined || Array.isArray(left) !== Array.isArray(right)) return { path, left, right }
  const ours = left as { readonly [key: string]: Json }
  const theirs = right as { readonly [key: string]: Json }
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(ours)])) {
    const here = `${path}/${key}`
    const mine = Object.hasOwn(ours, key) ? ours[key] : undefined
    const other = Object.hasOwn(theirs, key) ? theirs[key] : undefined
    const found = firstDifference(mine, other, here)
    if (found !== undefined) return found
  }
  return undefined
}
