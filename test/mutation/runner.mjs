// A test runner of Stryker for pure code: it bundles the test files and loads them into one process, where each mutant costs only the
// tests that reach it. Vitest starts anew for each mutant, which takes a hundred times as long here.
import { mkdir } from "node:fs/promises"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { commonTokens, declareFactoryPlugin, PluginKind, tokens } from "@stryker-mutator/api/plugin"
import { DryRunStatus, determineHitLimitReached, TestStatus, toMutantRunResult } from "@stryker-mutator/api/test-runner"
import { build } from "esbuild"
import { globSync } from "tinyglobby"

/** Of `globalThis`, what the mutated code reads and writes. */
const NAMESPACE = "__stryker__"

class OneProcessRunner {
  #tests
  #loads = 0

  capabilities() {
    // A mutant that acts while the code is loaded gets a new process.
    return { reloadEnvironment: false }
  }

  async dryRun() {
    await this.#load()
    const results = await this.#run(this.#tests, false)
    return { status: DryRunStatus.Complete, tests: results, mutantCoverage: state().mutantCoverage }
  }

  async mutantRun({ activeMutant, mutantActivation, testFilter, hitLimit }) {
    if (mutantActivation === "static") state().activeMutant = activeMutant.id
    await this.#load()
    state().hitCount = 0
    state().hitLimit = hitLimit
    state().activeMutant = activeMutant.id
    const due = testFilter === undefined ? this.#tests : this.#tests.filter(({ id }) => testFilter.includes(id))
    const results = await this.#run(due, true)
    state().activeMutant = undefined
    return toMutantRunResult(determineHitLimitReached(state().hitCount, hitLimit) ?? { status: DryRunStatus.Complete, tests: results })
  }

  async #load() {
    if (this.#tests !== undefined) return
    const files = globSync((process.env["MUTATION_TESTS"] ?? "test/machine/*.test.ts").split(" "), { expandDirectories: false }).sort()
    const folder = resolve(".mutation")
    await mkdir(folder, { recursive: true })
    this.#loads += 1
    const outfile = join(folder, `${process.pid}-${this.#loads}.mjs`)
    const entry = [
      'import { configureGlobal } from "fast-check"',
      'import { collect, collected } from "vitest"',
      "configureGlobal({ seed: 20261126 })",
      ...files.map((file) => `await collect(${JSON.stringify(file)}, () => import(${JSON.stringify(`./${file}`)}))`),
      "export { collected }",
    ]
    await build({
      stdin: { contents: entry.join("\n"), resolveDir: process.cwd(), sourcefile: "entry.ts" },
      outfile,
      bundle: true,
      packages: "external",
      alias: { vitest: resolve("test/mutation/tests.mjs") },
      format: "esm",
      platform: "node",
      target: "node20",
      logLevel: "silent",
    })
    const { collected } = await import(pathToFileURL(outfile).href)
    this.#tests = collected
  }

  async #run(tests, stopsAtFailure) {
    const results = []
    for (const { id, file, run } of tests) {
      const startedAt = performance.now()
      state().currentTestId = id
      let failure
      try {
        await run()
      } catch (error) {
        failure = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
      }
      state().currentTestId = undefined
      const result = { id, name: id, fileName: file, timeSpentMs: performance.now() - startedAt }
      results.push(
        failure === undefined ? { ...result, status: TestStatus.Success } : { ...result, status: TestStatus.Failed, failureMessage: failure },
      )
      if (failure !== undefined && stopsAtFailure) break
    }
    return results
  }
}

function state() {
  globalThis[NAMESPACE] ??= {}
  return globalThis[NAMESPACE]
}

function oneProcessRunner() {
  return new OneProcessRunner()
}
oneProcessRunner.inject = tokens(commonTokens.injector)

export const strykerPlugins = [declareFactoryPlugin(PluginKind.TestRunner, "one-process", oneProcessRunner)]
