/**
 * npm run test:mutation [-- FILE|FOLDER...] [-- --concurrency 2]
 *
 * Mutation testing with Stryker: src/machine, src/drivers and src/replay, or what is named. The tests of the pure code that reach a mutant try
 * it. Mutants that act while the code is loaded are left out, and so are the texts of errors. Prints the score of each file and the mutants that
 * survived. What was named is one run, with one report: reports/mutation/<name>.json.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"

interface Mutant {
  readonly status: string
  readonly mutatorName: string
  readonly replacement?: string
  readonly location: { readonly start: { readonly line: number; readonly column: number } }
}

/** Tests that start servers, that measure how work grows, or that need many random cases to say anything. */
const UNFIT =
  /real-endpoint|growth|long-journal|properties\/(reach|crashes|children|detached-children|goal-thread|thread-events|thread-queue|ui-stream)\.|killed-at/

const { values, positionals } = parseArgs({ allowPositionals: true, options: { concurrency: { type: "string", default: "2" } } })
const places = positionals.length === 0 ? ["src/machine", "src/drivers", "src/replay"] : positionals
const files = places.flatMap((place) => filesIn(place, ".ts")).filter((file) => !file.endsWith("index.ts"))
const tests = ["test/machine", "test/drivers", "test/replay", "test/properties", "test/scenarios"].flatMap((room) => filesIn(room, ".test.ts"))
const report = `reports/mutation/${places
  .map((place) =>
    place
      .replace(/^src\//, "")
      .replace(/\.ts$/, "")
      .replaceAll("/", "."),
  )
  .join("+")}.json`
mkdirSync("reports/mutation", { recursive: true })

execFileSync("npx", ["stryker", "run", "--mutate", files.join(","), "--concurrency", values.concurrency], {
  stdio: ["ignore", "inherit", "inherit"],
  env: {
    ...process.env,
    // Stryker's processes load the tests as they are.
    NODE_OPTIONS: "--import tsx",
    NODE_ENV: "test",
    TEST_LANE: "fast",
    FC_RUNS_FACTOR: "0.05",
    MUTATION_TESTS: tests.filter((file) => !UNFIT.test(file)).join(" "),
    MUTATION_REPORT: report,
  },
})

const { files: reported } = JSON.parse(readFileSync(report, "utf8")) as { readonly files: Record<string, { readonly mutants: readonly Mutant[] }> }
for (const [file, { mutants }] of Object.entries(reported)) {
  const count = (...statuses: readonly string[]): number => mutants.filter(({ status }) => statuses.includes(status)).length
  const [killed, survived] = [count("Killed", "Timeout"), count("Survived", "NoCoverage")]
  console.log(`${file}: ${((100 * killed) / (killed + survived)).toFixed(1)} % of ${killed + survived} mutants are killed`)
  for (const { status, mutatorName, replacement, location } of mutants)
    if (status !== "Killed" && status !== "Timeout" && status !== "Ignored")
      console.log(`  ${file}:${location.start.line}:${location.start.column} ${status} ${mutatorName}: ${replacement?.replace(/\s+/g, " ")}`)
}

function filesIn(place: string, ending: string): readonly string[] {
  if (!statSync(place).isDirectory()) return [place]
  const names = readdirSync(place, { recursive: true, encoding: "utf8" })
  return names.filter((name) => name.endsWith(ending)).map((name) => join(place, name))
}
