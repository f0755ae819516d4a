/**
 * Stryker's runner for the tests of the pure code, and what it leaves out.
 *
 * The usual runner for Vitest loads all sources and tests anew for each mutant, which takes more than a second. Here, a process loads them once,
 * and a mutant is a number that the loaded code reads. Most mutants take some milliseconds.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { declareFactoryPlugin, declareValuePlugin, type Plugin, PluginKind } from "@stryker-mutator/api/plugin"
import {
  type CompleteDryRunResult,
  DryRunStatus,
  type MutantRunOptions,
  type MutantRunResult,
  MutantRunStatus,
  type TestRunner,
  TestStatus,
} from "@stryker-mutator/api/test-runner"
import { type LoadedTest, loadTests, runTest } from "./tests.ts"

/** What the instrumented code reads and writes. */
interface Stryker {
  activeMutant?: string | undefined
  currentTestId?: string | undefined
  hitCount?: number | undefined
  hitLimit?: number | undefined
  mutantCoverage?: NonNullable<CompleteDryRunResult["mutantCoverage"]>
}

const SCOPE = globalThis as { __stryker__?: Stryker }
const STRYKER: Stryker = SCOPE.__stryker__ ?? {}
SCOPE.__stryker__ = STRYKER

/** What the first process learns of the tests, and the others read. */
const LEARNT = "mutation-tests.json"

interface Learnt {
  /** The tests, the quick ones first. */
  readonly order: readonly string[]
  /** How often each test reaches each mutant. */
  readonly hits: { readonly [test: string]: { readonly [mutant: string]: number } }
}

function learnt(): { readonly places: ReadonlyMap<string, number>; readonly hits: Learnt["hits"] } {
  const { order, hits } = JSON.parse(readFileSync(LEARNT, "utf8")) as Learnt
  return { places: new Map(order.map((id, place) => [id, place])), hits }
}

/** How many times as often as usual a test may reach a mutant. A property that fails looks for a smaller case, and so runs more cases. */
const MOST_HITS = 200

class OneProcess implements TestRunner {
  #tests: ReadonlyMap<string, LoadedTest> = new Map()
  #learnt: { readonly places: ReadonlyMap<string, number>; readonly hits: Learnt["hits"] } | undefined
  /** The tests of each source that killed a mutant of it, the last one first. */
  readonly #killers = new Map<string, readonly string[]>()
  /** A mutant has changed what the loaded code keeps, such as a table, so that the test that killed it fails without it. */
  #spoiled = false

  /** Says yes, although nothing is loaded again: mutants that act while the code is loaded are left out, and the others do not need it. */
  capabilities(): { reloadEnvironment: boolean } {
    return { reloadEnvironment: true }
  }

  async init(): Promise<void> {
    const tests = await loadTests((process.env["MUTATION_TESTS"] ?? "").split(" "))
    this.#tests = new Map(tests.map((loaded) => [loaded.id, loaded]))
  }

  async dryRun(): Promise<CompleteDryRunResult> {
    const tests: CompleteDryRunResult["tests"] = []
    for (const [id, loaded] of this.#tests) {
      STRYKER.currentTestId = id
      const { milliseconds, failure } = await runTest(loaded)
      STRYKER.currentTestId = undefined
      const told = { id, name: id, fileName: loaded.test.file.filepath, timeSpentMs: milliseconds }
      tests.push(failure === undefined ? { ...told, status: TestStatus.Success } : { ...told, status: TestStatus.Failed, failureMessage: failure })
    }
    const byTime = tests.toSorted((a, b) => a.timeSpentMs - b.timeSpentMs)
    writeFileSync(LEARNT, JSON.stringify({ order: byTime.map(({ id }) => id), hits: STRYKER.mutantCoverage?.perTest ?? {} } satisfies Learnt))
    return { status: DryRunStatus.Complete, tests, ...(STRYKER.mutantCoverage !== undefined && { mutantCoverage: STRYKER.mutantCoverage }) }
  }

  /** Runs the tests that reach the mutant until one fails. Those that killed mutants of the same source are the first, then the quick ones. */
  async mutantRun({ activeMutant, testFilter = [...this.#tests.keys()] }: MutantRunOptions): Promise<MutantRunResult> {
    // Stryker starts another process for a mutant whose run was rejected.
    if (this.#spoiled) throw new Error("A mutant has changed what the loaded code keeps.")
    this.#learnt ??= learnt()
    const { places, hits } = this.#learnt
    const byTime = testFilter.toSorted((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0))
    const reaching = new Set(byTime)
    const killers = this.#killers.get(activeMutant.fileName) ?? []
    const tests = [...new Set([...killers.filter((id) => reaching.has(id)), ...byTime])]
    for (const [before, id] of tests.entries()) {
      const loaded = this.#tests.get(id)
      if (loaded === undefined) continue
      // A mutant that makes a loop endless is reached without end.
      const hitLimit = MOST_HITS * (1 + (hits[id]?.[activeMutant.id] ?? 0))
      Object.assign(STRYKER, { activeMutant: activeMutant.id, hitCount: 0, hitLimit } satisfies Stryker)
      const { failure } = await runTest(loaded)
      const endless = (STRYKER.hitCount ?? 0) > hitLimit
      Object.assign(STRYKER, { activeMutant: undefined, hitCount: undefined, hitLimit: undefined } satisfies Stryker)
      if (failure === undefined) continue
      this.#spoiled = (await runTest(loaded)).failure !== undefined
      this.#killers.set(activeMutant.fileName, [id, ...killers.filter((killer) => killer !== id)])
      if (endless) return { status: MutantRunStatus.Timeout, reason: `A test reaches it more than ${MOST_HITS} times as often.` }
      return { status: MutantRunStatus.Killed, killedBy: [id], failureMessage: failure, nrOfTests: before + 1 }
    }
    return { status: MutantRunStatus.Survived, nrOfTests: tests.length }
  }
}

/** A node of the syntax tree as Babel has it. */
interface Place {
  readonly node: { readonly type: string; readonly value?: unknown; readonly callee?: { readonly name?: string } }
  readonly parentPath: Place | null
}

/** Texts of errors are for people. A text without a space is a code, a name or a path, which programs read, and is not left out. */
function ignoreTextsOfErrors(place: Place): string | undefined {
  const { type, value } = place.node
  const isText = type === "TemplateLiteral" || (type === "StringLiteral" && typeof value === "string" && value.includes(" "))
  if (!isText) return undefined
  for (let around = place.parentPath; around !== null; around = around.parentPath)
    if (around.node.type === "ThrowStatement" || (around.node.type === "NewExpression" && around.node.callee?.name?.endsWith("Error") === true))
      return "text of an error"
  return undefined
}

export const strykerPlugins: readonly Plugin<PluginKind>[] = [
  declareFactoryPlugin(PluginKind.TestRunner, "one-process", () => new OneProcess()),
  declareValuePlugin(PluginKind.Ignore, "texts-of-errors", { shouldIgnore: (place) => ignoreTextsOfErrors(place as unknown as Place) }),
]
