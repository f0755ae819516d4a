/**
 * Mutation testing: `npm run test:mutation`. scripts/mutation.ts chooses the files and the tests.
 * @type {import("@stryker-mutator/api/core").PartialStrykerOptions}
 */
export default {
  plugins: ["./test/mutation/stryker.ts"],
  testRunner: "one-process",
  ignorers: ["texts-of-errors"],
  coverageAnalysis: "perTest",
  concurrency: 2,
  // A mutant that acts while the code is loaded needs a process of its own.
  ignoreStatic: true,
  reporters: ["progress-append-only", "json"],
  jsonReporter: { fileName: process.env.MUTATION_REPORT ?? "reports/mutation/mutation.json" },
  // A busy machine is slow. A mutant that never ends is found by its number of hits, and only seldom by its time.
  timeoutMS: 20_000,
  timeoutFactor: 2,
  dryRunTimeoutMinutes: 30,
  tempDirName: ".stryker-tmp",
  ignorePatterns: ["/bench", "/coverage", "/dist", "/docs", "/examples", "/lint", "/reports", "/src/viewer/page"],
  disableTypeChecks: false,
  checkers: [],
  allowConsoleColors: false,
}
