import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, test } from "vitest"

export { expectSame, withoutOurFields } from "./compare.ts"

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
