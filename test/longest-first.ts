import { relative } from "node:path"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** The files that take longest in the full lane, the longest first. A file that is missing here only starts later. */
const LONG: readonly string[] = [
  "test/package/examples.test.ts",
  "test/hosts/restate/thread-conformance.test.ts",
  "test/crash/processes.test.ts",
  "test/testing/host-conformance/own-hosts.test.ts",
  "test/crash/goals.test.ts",
  "test/runtimes/runtimes.test.ts",
  "test/crash/held-calls.test.ts",
  "test/hosts/journal/store.test.ts",
  "test/testing/thread-conformance/own-threads.test.ts",
  "test/package/zod.test.ts",
  "test/testing/explored-drivers.test.ts",
  "test/models/thread-model.test.ts",
  "test/properties/crashes.test.ts",
  "test/hosts/cloudflare/conformance.test.ts",
  "test/docs.test.ts",
  "test/cli/goal-process.test.ts",
  "test/cli/goal-control.test.ts",
  "test/properties/compaction.test.ts",
  "test/properties/thread-queue.test.ts",
]

/** The projects whose files have module registries of their own come first. */
const PROJECTS: readonly string[] = ["full", "processes", "isolated", "fast"]

/**
 * Starts the longest files first, so that all workers are busy until the end: Vitest knows durations only from an earlier run. The many short
 * files of the fast lane come last, together, because they share a module registry.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const place = ({ moduleId, project }: TestSpecification): number => {
      const index = LONG.indexOf(relative(this.ctx.config.root, moduleId).replaceAll("\\", "/"))
      return PROJECTS.indexOf(project.name) * 1_000 + (index < 0 ? LONG.length : index)
    }
    return sorted.toSorted((one, other) => place(one) - place(other))
  }
}
