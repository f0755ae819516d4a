import { resolve } from "node:path"
import { performance } from "node:perf_hooks"
import { collectTests, getFn, startTests, type Task, type Test, test, type VitestRunner } from "@vitest/runner"
import { configureGlobal } from "fast-check"

/** A test of a file that was loaded. */
export interface LoadedTest {
  /** The file, the names of the suites and the name of the test; a number follows where two have the same. */
  readonly id: string
  readonly test: Test
}

export interface TestRun {
  readonly milliseconds: number
  /** Why it failed. Absent: it passed. */
  readonly failure?: string
}

const RUNNER: VitestRunner = {
  config: {
    root: process.cwd(),
    setupFiles: [],
    name: undefined,
    passWithNoTests: true,
    testNamePattern: undefined,
    allowOnly: false,
    sequence: { seed: 0, hooks: "stack", setupFiles: "list" },
    chaiConfig: undefined,
    maxConcurrency: 1,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    retry: 0,
    includeTaskLocation: undefined,
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
  },
  importFile: (file) => import(file),
}

/** What `expect` and `vi` ask of the thread of Vitest in which a test usually runs. */
const THREAD = {
  config: { snapshotOptions: { expand: false }, expect: {}, fakeTimers: {}, sequence: {} },
  filepath: "",
  providedContext: {},
  durations: {},
}

/** Loads test files, and the sources with them. Call it once: the files are not loaded again. */
export async function loadTests(files: readonly string[]): Promise<readonly LoadedTest[]> {
  Object.defineProperty(globalThis, "__vitest_worker__", { value: THREAD })
  configureGlobal({ seed: 20261126 })
  const loaded = await collectTests(
    files.map((file) => resolve(file)),
    RUNNER,
  )
  for (const { filepath, result } of loaded) if (result?.state === "fail") throw new Error(`${filepath} was not loaded: ${result.errors?.[0]?.stack}`)
  const tests = loaded.flatMap((file) => testsOf(file, file.name))
  const ids = new Map<string, number>()
  return tests.map(({ id, test: loadedTest }) => {
    const before = ids.get(id) ?? 0
    ids.set(id, before + 1)
    return { id: before === 0 ? id : `${id} (${before + 1})`, test: loadedTest }
  })
}

function testsOf(task: Task, id: string): readonly LoadedTest[] {
  if (task.mode === "skip" || task.mode === "todo") return []
  if (task.type === "test") return [{ id, test: task }]
  return task.tasks.flatMap((inner) => testsOf(inner, `${id} > ${inner.name}`))
}

/**
 * Runs one test as the only one of its file. The hooks of its file and of its suites do not run: the tests of the pure code have none that they
 * need.
 */
export async function runTest({ id, test: loaded }: LoadedTest): Promise<TestRun> {
  const began = performance.now()
  const again: VitestRunner = { ...RUNNER, importFile: () => void test(id, { timeout: loaded.timeout }, () => getFn(loaded)()) }
  const [file] = await startTests([loaded.file.filepath], again)
  const result = file?.tasks[0]?.result
  const milliseconds = performance.now() - began
  if (result?.state === "pass") return { milliseconds }
  return { milliseconds, failure: result?.errors?.[0]?.message ?? "The test did not run." }
}
