import { defineConfig } from "vitest/config"

/** `--mode deep` runs the property tests alone, each a hundred times as long. */
export default defineConfig(({ mode }) => {
  const deep = mode === "deep"
  return {
    test: {
      include: deep ? ["test/properties/**/*.test.ts"] : ["test/**/*.test.ts", "examples/**/*.test.ts"],
      env: deep ? { FC_RUNS_FACTOR: process.env["FC_RUNS_FACTOR"] ?? "100" } : {},
      testTimeout: deep ? 3_600_000 : 30_000,
      hookTimeout: 60_000,
      typecheck: {
        enabled: !deep,
        include: ["test/types/**/*.test-d.ts"],
        tsconfig: "test/types/tsconfig.json",
        // The sources have a compilation of their own, `npm run types`.
        ignoreSourceErrors: true,
      },
    },
  }
})
