import { join } from "node:path"
import { beforeAll, expect, test } from "vitest"
import { CONSUMER } from "./consumer.ts"
import { NEEDED_BY, packed, pinned, UserFolder } from "./support.ts"

// The oldest TypeScript that the package supports.

const user = new UserFolder()
await packed()

beforeAll(() => user.install("turn-machine", pinned("zod"), "typescript@5.4", ...Object.keys(NEEDED_BY).map(pinned)), 180_000)

test("a user's program compiles with TypeScript 5.4", { timeout: 180_000 }, async () => {
  expect((await user.run("tsc", "--version")).output).toContain("Version 5.4.")
  expect(await user.compile(CONSUMER, {}, join(user.path, "node_modules/typescript/bin/tsc"))).toBe("")
})
