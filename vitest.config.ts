import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

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
  "test/hosts/mcp/real-servers.test.ts", // starts MCP servers as processes
  "test/hosts/thread/long-goal.test.ts", // runs a goal of a hundred turns
]

/** The part of them that depends on the version of Node: they start processes, or run the installed package. */
const PROCESSES = [
  "test/package/{exports,install,examples}.test.ts",
  "test/crash/**/*.test.ts",
  "test/cli/*process.test.ts",
  "test/cli/goal-control.test.ts",
]

/** Kills one process and resumes its turn: the part of the crash tests that every run checks. */
const SMOKE = "test/crash/smoke.test.ts"

/** Tests that replace modules, and so cannot share a module registry with others. */
const ISOLATED = ["test/hosts/node/file-journal-races.test.ts", "test/cli/races.test.ts"]

/** Tests of examples that need packages of their own. `test/package/examples.test.ts` installs these, and runs them. */
const INSTALLED = ["examples/cloudflare/**", "examples/restate/**"]

/**
 * `vitest run` is the fast lane. `--mode full` runs all tests, with more random cases. `--mode node` runs what depends on the version of
 * Node: the fast lane, and the tests that start processes. `--mode deep` runs only the property tests and the fuzzer, with a hundred times as
 * many cases.
 */
export default defineConfig(({ mode }) => {
  const lane = mode === "full" || mode === "node" || mode === "deep" ? mode : "fast"
  const shared = {
    env: { TEST_LANE: lane === "node" ? "fast" : lane, ...FACTORS[lane] },
    setupFiles: ["test/setup.ts"],
    testTimeout: lane === "deep" ? 3_600_000 : 30_000,
    hookTimeout: 60_000,
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
      exclude: [...FULL, ...ISOLATED, ...INSTALLED, "**/node_modules/**"],
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
  const deep = { ...fast, test: { ...fast.test, name: "deep", include: ["test/properties/**/*.test.ts", "test/fuzz/**/*.test.ts"] } }
  return {
    // The examples and the docs import the package by its name.
    resolve: { alias: packageAliases() },
    // By default Vitest leaves one core idle, which of two is half the machine.
    test: {
      maxWorkers: "100%",
      projects: { fast: [fast, isolated], full: [fast, isolated, full], node: [fast, isolated, processes], deep: [deep] }[lane],
    },
  }
})

/**
 * How many random cases the property tests try, relative to what each of them states. `KILL_EVERY`, `RANDOM_KILLS`: how often the processes of
 * examples/approvals are killed. `ORDERS`: how many turns examples/workers runs; 0 skips its tests. `CRASH_KILLS`: how often
 * test/crash/goals.test.ts kills. `SERVICE_KILLS`: how often the service of examples/restate is killed. `SERVER_EXAMPLES`: 0 skips the
 * examples that need servers.
 */
const FACTORS: { readonly [lane: string]: { readonly FC_RUNS_FACTOR: string; readonly [name: string]: string } } = {
  fast: {
    FC_RUNS_FACTOR: process.env["FC_RUNS_FACTOR"] ?? "0.1",
    KILL_EVERY: process.env["KILL_EVERY"] ?? "60",
    RANDOM_KILLS: process.env["RANDOM_KILLS"] ?? "1",
    ORDERS: process.env["ORDERS"] ?? "0",
  },
  node: {
    FC_RUNS_FACTOR: "0.1",
    KILL_EVERY: "60",
    RANDOM_KILLS: "1",
    ORDERS: "0",
    SERVER_EXAMPLES: "0",
    CRASH_KILLS: process.env["CRASH_KILLS"] ?? "50",
  },
  full: { FC_RUNS_FACTOR: process.env["FC_RUNS_FACTOR"] ?? "1", SERVICE_KILLS: process.env["SERVICE_KILLS"] ?? "25" },
  deep: { FC_RUNS_FACTOR: process.env["FC_RUNS_FACTOR"] ?? "100" },
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
