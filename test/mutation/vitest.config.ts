import { defineConfig } from "vitest/config"

/** The tests that `npm run test:mutation` runs for each mutant; scripts/mutation.ts chooses them. */
const TESTS = (process.env["MUTATION_TESTS"] ?? "test/machine/*.test.ts").split(" ")

/** Quick tests with few random cases. Their files share a thread and the sources that it has loaded. */
export default defineConfig({
  test: {
    env: { TEST_LANE: "fast", FC_RUNS_FACTOR: "0.05" },
    include: TESTS,
    setupFiles: ["test/setup.ts"],
    pool: "threads",
    isolate: false,
    maxWorkers: 1,
    testTimeout: 60_000,
  },
})
