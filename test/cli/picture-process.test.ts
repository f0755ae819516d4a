import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { hasPty } from "./pty.ts"

it.skipIf(!hasPty)("the README's picture of a goal shows what a goal shows", () => {
  const script = fileURLToPath(new URL("../../scripts/picture-of-goal.ts", import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, ["--import", import.meta.resolve("tsx"), script, "--check"], { encoding: "utf8" })
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" })
})
