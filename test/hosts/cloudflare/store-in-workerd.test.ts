import { spawn } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import { build } from "esbuild"
import { afterAll, expect, test } from "vitest"
import { ROOT } from "../../built.ts"
import { installTools } from "../../runtimes/tools.ts"

// The rules that all stores keep, within a real Durable Object: see test/hosts/journal/store-rules.ts.

const SOURCES = join(ROOT, "test/hosts/cloudflare/workerd")

const folder = mkdtempSync(join(tmpdir(), "turn-machine-workerd-"))
const modules = await installTools()
mkdirSync(join(folder, "storage"))
cpSync(join(SOURCES, "config.capnp"), join(folder, "config.capnp"))
await build({
  entryPoints: [join(SOURCES, "object.ts")],
  outfile: join(folder, "worker.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  platform: "neutral",
  mainFields: ["module", "main"],
  alias: { vitest: join(SOURCES, "vitest.ts") },
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "error",
})
const child = spawn(join(modules, "workerd/bin/workerd"), ["serve", "config.capnp", "--control-fd=3"], {
  cwd: folder,
  stdio: ["ignore", "inherit", "inherit", "pipe"],
})
afterAll(() => {
  child.kill("SIGKILL")
  rmSync(folder, { recursive: true, force: true })
})
const port = await new Promise<number>((resolve, reject) => {
  createInterface({ input: child.stdio[3] as Readable }).on("line", (line) => {
    const { event, port } = JSON.parse(line) as { readonly event: string; readonly port: number }
    if (event === "listen") resolve(port)
  })
  child.once("close", (code) => reject(new Error(`workerd ended with ${code}.`)))
})
const names = (await (await fetch(`http://127.0.0.1:${port}/`)).json()) as readonly string[]

test("all rules are there", () => {
  expect(names.length).toBeGreaterThan(55)
})

test("a TurnObject cannot be called by Workers for what only its subclass defines", async () => {
  const { status, ...hidden } = (await (await fetch(`http://127.0.0.1:${port}/called`)).json()) as Readonly<Record<string, string>>
  expect(status).toBe("done")
  expect(Object.keys(hidden)).toHaveLength(8)
  for (const [name, result] of Object.entries(hidden)) expect(result).toBe(`TypeError: The RPC receiver does not implement the method "${name}".`)
})

test.each(names.map((name, number) => [name, number] as const))("a Durable Object: journals %s", async (_name, number) => {
  const response = await fetch(`http://127.0.0.1:${port}/${number}`)
  const text = await response.text()
  expect(response.status, text).toBe(200)
  const { greatest, process } = JSON.parse(text) as { readonly greatest: number; readonly process: string }
  expect(greatest).toBeLessThan(2_000_000)
  expect(process).toBe("undefined")
})
