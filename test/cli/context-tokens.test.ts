import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { windowOf } from "../../src/cli/model/listed-window.ts"
import { fill, newFolder, runCli, serve } from "./harness.ts"

/** A folder of 600 files, whose list alone is longer than the window, with 32 comments to read around. */
function largeFolder(): string {
  const files: Record<string, string> = {}
  for (let part = 0; part < 24; part += 1) {
    for (let file = 0; file < 25; file += 1) {
      const lines = Array.from(
        { length: 40 },
        (_, line) => `// line ${line} of file ${file} in component ${part}: nothing to see here, move along please`,
      )
      if (file === 3) lines[20] = `// TODO: replace the temporary cache of component ${part}`
      if (file === 9 && part % 3 === 0) lines[11] = `// FIXME: urgent! the index of component ${part} is broken`
      const number = (value: number): string => String(value).padStart(2, "0")
      files[`packages/component-number-${number(part)}/sources/module-with-a-long-name-${number(file)}.ts`] = lines.join("\n")
    }
  }
  return fill(newFolder(), files)
}

interface Line {
  readonly type: string
  readonly kind?: string
  readonly text?: string
  readonly [key: string]: unknown
}

const linesOf = (stdout: string): readonly Line[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line)

describe("a run of the embedded model over a large folder with a small window", () => {
  test.each([9_000, 12_000, 14_000, 20_000])("of %i tokens ends with the same report as without", async (window) => {
    const dir = largeFolder()
    const cwd = newFolder()
    expect((await runCli(["run", "--dir", dir, "--out", "without"], { cwd })).exitCode).toBe(0)
    const ran = await runCli(["run", "--dir", dir, "--out", "within", "--context-tokens", `${window}`, "--state", "run.json", "--json"], { cwd })
    expect({ exitCode: ran.exitCode, stderr: ran.stderr }).toEqual({ exitCode: 0, stderr: "" })
    const report = (out: string): string => readFileSync(join(cwd, out, "todo-report.md"), "utf8")
    expect(report("without")).toContain("32 comments")
    expect(report("within")).toBe(report("without"))

    const lines = linesOf(ran.stdout)
    expect(lines[0]).toMatchObject({ type: "run_started", contextTokens: window })
    const notices = lines.flatMap(({ type, kind, text }) => (type === "message" && kind === "compaction" ? [text ?? ""] : []))
    expect(notices.filter((text) => /^The conversation was summarized: about \d+ tokens became \d+\.$/.test(text)).length).toBeGreaterThan(0)
    expect(ran.stdout).not.toContain("What the embedded planner found")
    expect(lines.filter(({ type }) => type === "llm_request").some(({ purpose }) => purpose === "compaction")).toBe(true)

    const shown = await runCli(["journal", "show", "run.json"], { cwd, columns: 200 })
    expect(shown.stdout).toContain("compaction: the model summarizes the conversation")
    expect(shown.stdout).toContain("compacting(chat)")
    const replayed = await runCli(["journal", "replay", "run.json"], { cwd })
    expect(replayed.exitCode).toBe(0)
  })

  test("of too few tokens says what is missing", async () => {
    const cwd = newFolder()
    const dir = largeFolder()
    await runCli(["run", "--dir", dir, "--out", "out", "--context-tokens", "8000"], { cwd })
    expect(readFileSync(join(cwd, "out/todo-report.md"), "utf8")).toContain("A tool failed: `The result is longer than the context window allows.`")
    const smaller = await runCli(["run", "--dir", dir, "--out", "out2", "--context-tokens", "2000"], { cwd })
    expect(smaller.stdout).toContain("Every search failed")
    expect(smaller.stdout).toContain("longer than the context window allows")
  })

  test("the text of a run has the window, and a line for each compaction", async () => {
    const ran = await runCli(["run", "--dir", largeFolder(), "--context-tokens", "12000"], { cwd: newFolder() })
    expect(ran.stdout).toMatch(/window +12,000 tokens/)
    expect(ran.stdout).toMatch(/The conversation was summarized: about \d+ tokens became \d+\./)
    expect(ran.stdout).not.toContain("What the embedded planner found")
  })
})

test("a resumed run keeps its window, and refuses another one", async () => {
  const cwd = newFolder()
  const dir = fill(newFolder(), { "a.ts": "// TODO: look\n" })
  let isStopped = false
  await runCli(["run", "--dir", dir, "--context-tokens", "9000", "--state", "run.json"], {
    cwd,
    onOutput: (stdout, interrupt) => {
      if (isStopped || !stdout.includes("list_files")) return
      isStopped = true
      interrupt()
    },
  })
  const refused = await runCli(["resume", "run.json", "--context-tokens", "8000"], { cwd })
  expect(refused.exitCode).toBe(2)
  expect(refused.stderr).toContain("another context window (9000 tokens)")
  const resumed = await runCli(["resume", "run.json", "--json"], { cwd })
  expect({ exitCode: resumed.exitCode, stderr: resumed.stderr }).toEqual({ exitCode: 0, stderr: "" })
  expect(linesOf(resumed.stdout)[0]).toMatchObject({ contextTokens: 9_000 })
})

test.each(["0", "1999", "many", "-1"])("--context-tokens %s is refused", async (value) => {
  const ran = await runCli(["run", `--context-tokens=${value}`], { cwd: newFolder() })
  expect({ exitCode: ran.exitCode, said: ran.stderr.includes("--context-tokens") }).toEqual({ exitCode: 2, said: true })
})

test("a goal runs within the window and reaches the same result", async () => {
  const files = Object.fromEntries(
    Array.from({ length: 120 }, (_, index) => [`part${index % 4}/file-with-a-name-${index}.txt`, `heron ${index}\n${"reed ".repeat(40)}\n`]),
  )
  const dir = fill(newFolder(), files)
  const cwd = newFolder()
  const goal = ["goal", "Survey this folder: where is heron?", "--dir", dir]
  const without = await runCli([...goal, "--out", "without", "--state", "g1"], { cwd })
  expect(without.exitCode).toBe(0)
  const within = await runCli([...goal, "--out", "within", "--state", "g2", "--context-tokens", "12000", "--json"], { cwd })
  expect({ exitCode: within.exitCode, stderr: within.stderr }).toEqual({ exitCode: 0, stderr: "" })
  const lines = linesOf(within.stdout)
  expect(lines[0]).toMatchObject({ contextTokens: 12_000 })
  expect(lines.some(({ type, text }) => type === "message" && text?.startsWith("The conversation was summarized") === true)).toBe(true)
  const written = (stdout: readonly Line[]): unknown => (stdout.at(-1) as Line)["files"]
  expect((written(lines) as readonly string[]).length).toBe(5)
})

describe("the window that an endpoint lists", () => {
  test.each([
    [{ data: [{ id: "m", context_length: 32_000 }] }, 32_000],
    [[{ id: "m", context_window: 8_192 }], 8_192],
    [{ data: [{ id: "m", max_model_len: 4_096 }] }, 4_096],
    [{ data: [{ id: "m", max_context_length: 16_000 }] }, 16_000],
    [{ data: [{ id: "m", meta: { n_ctx: 4_096, n_ctx_train: 131_072 } }] }, 4_096],
    [{ data: [{ id: "m", context_length: 200_000, top_provider: { context_length: 100_000 } }] }, 100_000],
    [{ data: [{ id: "other", context_length: 32_000 }] }, undefined],
    [{ data: [{ id: "m" }] }, undefined],
    [{ data: [{ id: "m", context_length: "32000" }] }, undefined],
    [{ data: [{ id: "m", context_length: 0 }] }, undefined],
    [{ data: "none" }, undefined],
    [null, undefined],
  ])("%j: %s", (list, window) => {
    expect(windowOf(list, "m")).toBe(window)
  })

  const answered = JSON.stringify({ choices: [{ message: { role: "assistant", content: "Done." }, finish_reason: "stop" }] })

  test("is used without a flag, asked for with the key, and not looked up again on resume", async () => {
    const asked: string[] = []
    const baseUrl = await serve(
      (_body, response) => void response.writeHead(200, { "content-type": "application/json" }).end(answered),
      (response, { headers }) => {
        asked.push(headers.authorization ?? "")
        response.writeHead(200).end(JSON.stringify({ data: [{ id: "m", context_length: 32_000 }] }))
      },
    )
    const cwd = newFolder()
    const flags = ["--base-url", baseUrl, "--model", "m", "--api-key-env", "KEY", "--json"]
    const ran = await runCli(["run", ...flags, "--state", "run.json", "Say done."], { cwd, env: { KEY: "k1" } })
    expect(linesOf(ran.stdout)[0]).toMatchObject({ contextTokens: 32_000 })
    expect(asked).toEqual(["Bearer k1"])
    const again = await runCli(["resume", "run.json", "--json"], { cwd, env: { KEY: "k1" } })
    expect(linesOf(again.stdout)[0]).toMatchObject({ contextTokens: 32_000 })
    const off = await runCli(["run", ...flags, "--context-tokens", "off", "Say done."], { cwd, env: { KEY: "k1" } })
    expect(linesOf(off.stdout)[0]).not.toHaveProperty("contextTokens")
    expect(asked.length).toBe(1)
  })

  test.each([
    ["is missing", (response: { writeHead(status: number): { end(text?: string): void } }) => response.writeHead(404).end()],
    ["is not JSON", (response: { writeHead(status: number): { end(text?: string): void } }) => response.writeHead(200).end("<html>")],
  ])("%s: the run begins without one", async (_what, models) => {
    const baseUrl = await serve((_body, response) => void response.writeHead(200, { "content-type": "application/json" }).end(answered), models)
    const ran = await runCli(["run", "--base-url", baseUrl, "--model", "m", "--json", "Say done."], { cwd: newFolder() })
    expect(ran.exitCode).toBe(0)
    expect(linesOf(ran.stdout)[0]).not.toHaveProperty("contextTokens")
  })
})
