import { expectSame as expectSameValues } from "../../conformance/compare.ts"
import type { Scenario } from "../../conformance/suite.ts"
import { describe, record, test } from "./registry.ts"

export { withoutOurFields } from "../../conformance/compare.ts"
export type { Scenario } from "../../conformance/suite.ts"

/** The texts of test/fixtures/conformance, by suite. The bundler writes them here. */
declare const FIXTURES: { readonly [suite: string]: readonly string[] }

/** As `runSuite` of test/conformance, on the scenarios in the bundle. */
export function runSuite<Kind extends Scenario>(suite: string, run: (scenario: Kind) => void): void {
  describe(`conformance: ${suite}`, () => {
    for (const text of FIXTURES[suite] ?? []) {
      const scenario = JSON.parse(text) as Kind
      test(scenario.name, () => run(scenario))
    }
  })
}

/** As `expectSame` of test/conformance. What was received is compared between runtimes, too. */
export function expectSame(received: unknown, expected: unknown, where: string): void {
  record(received)
  expectSameValues(received, expected, where)
}
