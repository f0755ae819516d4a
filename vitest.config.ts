import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { LongestFirst } from "./test/longest-first.ts"

/** Tests that start processes, run the compiler, install the package or take long. Only `npm run test:full` runs them. */
const FULL = [
  "test/package/**/*.test.ts", // packs the package, installs it and compiles its users' programs
  "test/crash/**/*.test.ts", // kills processes at every boundary
  "test/hosts/cloudflare/store-in-workerd.test.ts", // starts workerd
  "test/runtimes/**/*.test.ts", // starts Node, workerd, Chromium, Deno and Bun
  "test/types/*.test.ts", // runs the compiler
  "test/docs.test.ts", // compiles and runs every program in the docs
  "test/purity.test.ts", // runs the linter and the compiler, and bundles the core
  "test/layers.test.ts", // runs dependency-cruiser
  "test/cli/*process.test.ts", // starts the command line as a process
  "test/cli/goal-control.test.ts", // starts the command line as a process
  "test/hosts/postgres/**/*.test.ts", // starts a database server
  "test/hosts/opentelemetry/prometheus.test.ts", // starts Prometheus
  "test/hosts/mcp/real-servers.test.ts", // starts MCP servers as processes
  "test/viewer/page.test.ts", // starts Chromium
  "test/cli/journal-view.test.ts", // needs the page of the build
  "test/hosts/thread/long-goal.test.ts", // runs a goal of a hundred turns
  "test/soak.test.ts", // measures memory, and runs a goal of two simulated days
]

/** The part of them that depends on the version of Node: they start processes, or run the installed package. */
const PROCESSES = ["test/package/{exports,install}.test.ts", "test/crash/**/*.test.ts", "test/cli/*process.test.ts", "test/cli/goal-control.test.ts"]

/** Kills one process and resumes its turn: the part of the crash tests that every run checks. */
const SMOKE = "test/crash/smoke.test.ts"

/** Tests that replace modules, and so cannot share a module registry with others. */
const ISOLATED = ["test/hosts/node/file-journal-races.test.ts", "test/cli/races.test.ts"]

/** Tests of examples that need packages of their own. `test/package/examples.test.ts` installs those, and runs all examples. */
const INSTALLED = ["examples/chat-server/**", "examples/cloudflare/**", "examples/restate/**"]

/** What the deep lane runs. */
const DEEP = [
  "test/properties/**/*.test.ts",
  "test/fuzz/**/*.test.ts",
  "test/testing/**/*.test.ts",
  "test/models/**/*.test.ts",
  "test/crash/**/*.test.ts",
  "test/package/examples.test.ts",
]

/**
 * `vitest run` is the fast lane. `--mode full` runs all tests, with more random cases, and each boundary of each kind. `--mode node` runs what
 * depends on the version of Node: the fast lane, and the tests that start processes, with few cases. `--mode deep` runs only what has a choice
 * of cases, with all of them: the property tests and the fuzzer with a hundred times as many, every boundary of the crash tests in every way,
 * every place of the conformance suites, and the examples with their greatest load.
 */
export default defineConfig(({ mode }) => {
  const lane = mode === "full" || mode === "node" || mode === "deep" ? mode : "fast"
  const shared = {
    env: { TEST_LANE: lane === "node" ? "fast" : lane, ...FACTORS[lane] },
    setupFiles: ["test/setup.ts"],
    // A limit only ends what hangs: on a busy machine, a disk or a process may need a hundred times as long as on a quiet one.
    testTimeout: lane === "deep" ? 3_600_000 : 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
    // Without setImmediate: fake timers run all immediates that are due, and what another file of the thread left may ask for one in each.
    fakeTimers: { toFake: ["setTimeout" as const, "clearTimeout" as const, "setInterval" as const, "clearInterval" as const, "Date" as const] },
  }
  const fast = {
    // Sharing one module registry halves the CPU time: the sources are loaded once for each thread and not for each file.
    extends: true as const,
    test: {
      ...shared,
      // Processes that the examples start find the package in the sources, as the tests do.
      env: { ...shared.env, TSX_TSCONFIG_PATH: fileURLToPath(new URL("tsconfig.json", import.meta.url)) },
      name: "fast",
      include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
      exclude: [...FULL, ...ISOLATED, ...INSTALLED, ...(lane === "full" ? ["examples/**"] : []), "**/node_modules/**"],
      pool: "threads" as const,
      isolate: false,
    },
  }
  const isolated = { extends: true as const, test: { ...shared, name: "isolated", include: [...ISOLATED, SMOKE], pool: "threads" as const } }
  const full = {
    extends: true as const,
    test: {
      ...shared,
      name: "full",
      include: FULL,
      exclude: [SMOKE, "**/node_modules/**"],
      typecheck: {
        enabled: true,
        include: ["test/types/**/*.test-d.ts"],
        tsconfig: "test/types/tsconfig.json",
        // `npm run types` compiles the sources.
        ignoreSourceErrors: true,
      },
    },
  }
  const processes = { extends: true as const, test: { ...shared, name: "processes", include: PROCESSES, exclude: [SMOKE, "**/node_modules/**"] } }
  const deep = { extends: true as const, test: { ...shared, name: "deep", include: DEEP, exclude: ["**/node_modules/**"] } }
  return {
    // The examples and the docs import the package by its name.
    resolve: { alias: packageAliases() },
    // By default Vitest leaves one core idle, which of two is half the machine.
    test: {
      maxWorkers: "100%",
      sequence: { sequencer: LongestFirst },
      projects: { fast: [fast, isolated], full: [fast, isolated, full], node: [fast, isolated, processes], deep: [deep] }[lane],
    },
  }
})

/**
 * How many random cases the property tests try, relative to what each of them states. `KILL_EVERY`, `RANDOM_KILLS`: how often the processes of
 * the examples are killed. `ORDERS`, `KILLS`: how many turns examples/workers runs, and how many workers are killed; 0 orders skip its tests.
 * `SERVICE_KILLS`: how often the service of examples/restate is killed. A variable that is set wins.
 */
const FACTORS: { readonly [lane: string]: Readonly<Record<string, string>> } = {
  fast: given({ FC_RUNS_FACTOR: "0.1", KILL_EVERY: "60", RANDOM_KILLS: "1", ORDERS: "0" }),
  node: given({ FC_RUNS_FACTOR: "0.1", KILL_EVERY: "60", RANDOM_KILLS: "1", ORDERS: "0" }),
  full: given({ FC_RUNS_FACTOR: "1", KILL_EVERY: "60", RANDOM_KILLS: "1", ORDERS: "60", KILLS: "8", SERVICE_KILLS: "25" }),
  deep: given({ FC_RUNS_FACTOR: "100", KILL_EVERY: "1", RANDOM_KILLS: "50", ORDERS: "2000", KILLS: "300", SERVICE_KILLS: "200" }),
}

/** Numbers of a lane, with those that the environment has instead. */
function given(numbers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, process.env[name] ?? number]))
}

/** Maps the names that the package exports to the sources. */
function packageAliases(): { readonly find: RegExp; readonly replacement: string }[] {
  const manifest = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as {
    readonly exports: Readonly<Record<string, string | { readonly default: string }>>
  }
  return Object.entries(manifest.exports).flatMap(([subpath, target]) => {
    if (typeof target === "string") return []
    const source = target.default.replace(/^\.\/dist\//, "./src/").replace(/\.js$/, ".ts")
    return [{ find: new RegExp(`^${subpath.replace(/^\./, "turn-machine")}$`), replacement: fileURLToPath(new URL(source, import.meta.url)) }]
  })
}
