import { ConformanceError, type ConformanceFault } from "../host-conformance/conformance-error.ts"
import type { ConformanceCheck } from "../host-conformance/host-conformance.ts"
import type { ThreadConformanceOptions, ThreadPromises } from "./tested-thread.ts"
import type { MakeThreadHost } from "./thread-acts.ts"
import { THREAD_LAWS, type ThreadLaw } from "./thread-laws.ts"
import { THREAD_SCENARIOS, ThreadLaboratory } from "./thread-scenarios.ts"

/**
 * Returns checks of a host of threads: of anything that holds conversations of many turns, with inputs that queue, goals and decisions. The harness
 * plays scripted conversations, kills the process at every place, sends everything again that had no answer, starts second processes,
 * and watches what the model reads and what takes effect.
 *
 *     for (const { name, run } of threadConformance(() => makeTestedThreadHost())) test(name, run)
 *
 * `makeHost` makes a host over a new, empty storage. The checks of one scenario share their runs, which the first of them makes: give that one
 * time. Checks can run in any order, and alone.
 */
export function threadConformance(makeHost: MakeThreadHost, options: ThreadConformanceOptions = {}): readonly ConformanceCheck[] {
  const { promises = {} } = options
  const isPromised = (promise: keyof ThreadPromises): boolean => promises[promise] !== false
  return THREAD_SCENARIOS.filter(({ needs = [] }) => needs.every(isPromised)).flatMap((scenario) => {
    let runs: Promise<readonly ConformanceFault[]> | undefined
    const laws = scenario.laws.filter((law) => (law !== "once" && law !== "linear") || isPromised(law))
    return laws.map((law: ThreadLaw): ConformanceCheck => {
      const name = `${scenario.name}: ${THREAD_LAWS[law]}`
      return {
        name,
        async run() {
          runs ??= faultsOf(new ThreadLaboratory(makeHost, options), scenario.run)
          const broken = (await runs).filter((fault) => fault.law === law)
          if (broken.length > 0) throw new ConformanceError(name, broken)
        },
      }
    })
  })
}

async function faultsOf(lab: ThreadLaboratory, run: (lab: ThreadLaboratory) => Promise<void>): Promise<readonly ConformanceFault[]> {
  await run(lab)
  return lab.faults
}
