/**
 * Mutation testing: `npm run test:mutation`. scripts/mutation.ts runs this once for each file, with the tests of its folder.
 * @type {import("@stryker-mutator/api/core").PartialStrykerOptions}
 */
export default {
  testRunner: "vitest",
  plugins: ["@stryker-mutator/vitest-runner"],
  // scripts/mutation.ts chooses the tests.
  vitest: { configFile: "test/mutation/vitest.config.ts", related: false },
  coverageAnalysis: "perTest",
  concurrency: 2,
  incremental: true,
  incrementalFile: process.env.MUTATION_INCREMENTAL ?? "reports/mutation/incremental.json",
  jsonReporter: { fileName: process.env.MUTATION_REPORT ?? "reports/mutation/mutation.json" },
  // A mutant that acts while the code is loaded needs a process of its own.
  ignoreStatic: true,
  reporters: ["clear-text", "json"],
  clearTextReporter: { allowColor: false, allowEmojis: false, logTests: false, reportTests: false, reportScoreTable: false },
  // A busy machine is slow. A mutant that never ends is found by its number of hits.
  timeoutMS: 60_000,
  dryRunTimeoutMinutes: 30,
  tempDirName: ".stryker-tmp",
  ignorePatterns: ["/bench", "/coverage", "/dist", "/docs", "/examples", "/lint", "/reports", "/src/viewer/page"],
  disableTypeChecks: false,
  checkers: [],
  allowConsoleColors: false,
}
