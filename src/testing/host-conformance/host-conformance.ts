import { ConformanceError } from "./conformance-error.ts"
import { CONFORMANCE_LAWS } from "./conformance-laws.ts"
import { HELD_SCENARIOS } from "./held-scenarios.ts"
import { Laboratory, type MakeHost } from "./laboratory.ts"
import { SCENARIOS } from "./scenarios.ts"
import type { HostConformanceOptions, HostPromises } from "./tested-host.ts"

/** One check of a host, for any test runner. */
export interface ConformanceCheck {
  /** How the turns were disturbed, and the law that must hold: `killed at every place: it ends as without an interruption`. */
  readonly name: string
  /** @throws {ConformanceError} with the places at which the law was broken */
  readonly run: () => Promise<void>
}

/**
 * Returns checks of a host: of anything that runs turns which survive their process. The harness runs scripted turns, kills and
 * cancels them at every place, starts second instances, changes the code, and watches what takes effect and what is reported.
 *
 *     for (const { name, run } of hostConformance(() => makeTestedHost())) test(name, run)
 *
 * `makeHost` makes a host over a new, empty storage. The checks of one way to disturb turns share their runs, which the first of them
 * makes: give that one time. Checks can run in any order, and alone.
 */
export function hostConformance(makeHost: MakeHost, options: HostConformanceOptions = {}): readonly ConformanceCheck[] {
  const { promises = {} } = options
  const isPromised = (promise: keyof typeof promises | undefined): boolean => promise === undefined || (promises[promise] ?? !OFF.has(promise))
  return [...SCENARIOS, ...HELD_SCENARIOS]
    .filter(({ needs }) => isPromised(needs))
    .flatMap((scenario) => {
      let runs: Promise<Laboratory> | undefined
      const laws = scenario.laws.filter((law) => law !== "once" || isPromised("once")).filter((law) => law !== "linear" || isPromised("linear"))
      return laws.map((law): ConformanceCheck => {
        const name = `${scenario.name}: ${CONFORMANCE_LAWS[law]}`
        return {
          name,
          async run() {
            runs ??= runAll(new Laboratory(makeHost, options), scenario.run)
            const broken = (await runs).faults.filter((fault) => fault.law === law)
            if (broken.length > 0) throw new ConformanceError(name, broken)
          },
        }
      })
    })
}

/** What a host promises only if it says so. */
const OFF: ReadonlySet<keyof HostPromises> = new Set(["deliveries", "held"])

async function runAll(lab: Laboratory, run: (lab: Laboratory) => Promise<void>): Promise<Laboratory> {
  await run(lab)
  return lab
}
