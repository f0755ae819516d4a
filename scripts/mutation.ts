/**
 * npm run test:mutation [-- FILE|FOLDER...] [-- --concurrency 2]
 *
 * Mutation testing with Stryker, one file after the other: src/machine, src/drivers and src/replay, or what is named. For each file, the quick
 * tests of its folder run. Mutants that act while the code is loaded are left out. Prints the score of each file and the mutants that
 * survived. The report of a file is reports/mutation/<file>.json, and a run reuses what has not changed since the one before.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"

const { values, positionals } = parseArgs({ allowPositionals: true, options: { concurrency: { type: "string", default: "2" } } })
const places = positionals.length === 0 ? ["src/machine", "src/drivers", "src/replay"] : positionals
const files = places.flatMap(filesOf).sort()
mkdirSync("reports/mutation", { recursive: true })

interface Mutant {
  readonly status: string
  readonly mutatorName: string
  readonly replacement?: string
  readonly location: { readonly start: { readonly line: number; readonly column: number } }
}

for (const file of files) {
  const name = file.replaceAll("/", ".").replace(/\.ts$/, "")
  const report = `reports/mutation/${name}.json`
  // The report is written by the json reporter to this path; see stryker.config.mjs.
  execFileSync("npx", ["stryker", "run", "--mutate", file, "--concurrency", values.concurrency], {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      ...process.env,
      MUTATION_TESTS: testsOf(file),
      MUTATION_REPORT: report,
      MUTATION_INCREMENTAL: `reports/mutation/${name}.incremental.json`,
    },
  })
  const { files: reported } = JSON.parse(readFileSync(report, "utf8")) as { readonly files: Record<string, { readonly mutants: readonly Mutant[] }> }
  const mutants = Object.values(reported).flatMap(({ mutants: all }) => all)
  const count = (...statuses: readonly string[]): number => mutants.filter(({ status }) => statuses.includes(status)).length
  const [killed, survived] = [count("Killed", "Timeout"), count("Survived", "NoCoverage")]
  console.log(`${file}: ${((100 * killed) / (killed + survived)).toFixed(1)} % of ${killed + survived} mutants are killed`)
  for (const { status, mutatorName, replacement, location } of mutants)
    if (status === "Survived" || status === "NoCoverage")
      console.log(`  ${file}:${location.start.line}:${location.start.column} ${status} ${mutatorName}: ${replacement?.replace(/\s+/g, " ")}`)
}

function filesOf(place: string): readonly string[] {
  if (!statSync(place).isDirectory()) return [place]
  const names = readdirSync(place, { recursive: true, encoding: "utf8" })
  return names.filter((name) => name.endsWith(".ts") && !name.endsWith("index.ts")).map((name) => join(place, name))
}

/** The tests for a file: those of its folder, and the laws on random turns. */
function testsOf(file: string): string {
  const [, room = "", ...rest] = file.split("/")
  const folder = rest.length > 1 ? `test/${room}/${rest[0]}` : `test/${room}`
  return `${folder}/*.test.ts test/properties/laws.test.ts`
}
