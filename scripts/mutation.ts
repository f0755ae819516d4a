/**
 * npm run test:mutation [-- FILE|FOLDER...] [-- --concurrency 2]
 *
 * Mutation testing with Stryker: src/machine, src/drivers and src/replay, or what is named. Those tests that reach a mutant try it: the tests
 * of its room, or of its folder in a room, the reference's, stories and random turns. Mutants that act while the code is loaded are left out, and so are the texts
 * of errors. Prints the score of each file and the mutants that survived. Each room and each folder is one run, with one report, such as
 * reports/mutation/drivers.goal.json, or reports/mutation/machine.held.json for one file alone.
 */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"

interface Mutant {
  readonly status: string
  readonly mutatorName: string
  readonly replacement?: string
  readonly location: { readonly start: { readonly line: number; readonly column: number } }
}

/** Random turns and random goals that are about the code of a room or folder, compared with models of them or checked by the laws. */
const PROPERTIES: { readonly [room: string]: RegExp } = {
  machine: /\/(held-time|laws|model|regressions|wire-values)\./,
  drivers: /\/(laws|pairing|prefix|verbatim)\./,
  "drivers/approval": /\/(approval|approval-digests)\./,
  "drivers/checklist": /\/(checklist|checklist-laws)\./,
  "drivers/compaction": /\/(compaction|compaction-growth)\./,
  "drivers/goal": /\/(goal|goal-driver|held-time)\./,
  replay: /\/(laws|regressions|time-travel)\./,
}

/** Stories that start servers, or that are about many sizes and places. */
const LONG_STORIES = /real-endpoint|a-goal-never|killed-at/

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { concurrency: { type: "string", default: "2" }, help: { type: "boolean", short: "h", default: false } },
})
if (values.help) {
  console.log(
    "Usage: npm run test:mutation [-- FILE|FOLDER...] [-- --concurrency 2]\n\nMutation testing of src/machine, src/drivers and src/replay, or of what is named.",
  )
  process.exit()
}
const places = positionals.length === 0 ? ["src/machine", "src/drivers", "src/replay"] : positionals
const files = places.flatMap((place) => filesIn(place, ".ts")).filter((file) => !file.endsWith("index.ts"))
mkdirSync("reports/mutation", { recursive: true })
for (const tested of new Set(files.map(testedWith)))
  testMutants(
    tested,
    files.filter((file) => testedWith(file) === tested),
  )

/** The folder of the tests for a file: that of its room, or of its folder in a room, if it has tests of its own. */
function testedWith(file: string): string {
  const [, room = "", folder = ""] = file.split("/")
  return existsSync(`test/${room}/${folder}`) ? `${room}/${folder}` : room
}

function testMutants(tested: string, mutated: readonly string[]): void {
  const [only] = mutated.length === 1 ? mutated : []
  const name = only?.replace(/^src\//, "").replace(/\.ts$/, "") ?? tested
  const report = `reports/mutation/${name.replaceAll("/", ".")}.json`
  const tests = [
    ...filesIn(`test/${tested}`, ".test.ts"),
    ...filesIn("test/conformance", ".test.ts").filter((file) => file.endsWith(`/${tested.split("/").at(-1)}.test.ts`)),
    ...filesIn("test/properties", ".test.ts").filter((file) => PROPERTIES[tested]?.test(file)),
    ...filesIn("test/scenarios", ".test.ts").filter((file) => !LONG_STORIES.test(file)),
  ]
  execFileSync("npx", ["stryker", "run", "--mutate", mutated.join(","), "--concurrency", values.concurrency], {
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...process.env,
      // Stryker's processes load the tests as they are.
      NODE_OPTIONS: "--import tsx",
      NODE_ENV: "test",
      TEST_LANE: "fast",
      FC_RUNS_FACTOR: "0.1",
      MUTATION_TESTS: tests.join(" "),
      MUTATION_REPORT: report,
    },
  })
  const { files: reported } = JSON.parse(readFileSync(report, "utf8")) as { readonly files: Record<string, { readonly mutants: readonly Mutant[] }> }
  for (const [file, { mutants }] of Object.entries(reported)) print(file, mutants)
}

function print(file: string, mutants: readonly Mutant[]): void {
  const killed = mutants.filter(({ status }) => status === "Killed" || status === "Timeout")
  const left = mutants.filter(({ status }) => status === "Survived" || status === "NoCoverage" || status === "RuntimeError")
  const count = killed.length + left.length
  console.log(`${file}: ${((100 * killed.length) / count).toFixed(1)} % of ${count} mutants are killed`)
  for (const { status, mutatorName, replacement, location } of left)
    console.log(`  ${file}:${location.start.line}:${location.start.column} ${status} ${mutatorName}: ${replacement?.replace(/\s+/g, " ")}`)
}

function filesIn(place: string, ending: string): readonly string[] {
  if (!statSync(place).isDirectory()) return [place]
  const names = readdirSync(place, { recursive: true, encoding: "utf8" })
  return names.filter((name) => name.endsWith(ending)).map((name) => join(place, name))
}
