import { execFileSync, spawnSync } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type CommandCheckOptions, commandChecks } from "../../../src/hosts/node/command-checks.ts"
import type { GoalCheckResult } from "../../../src/wire/goal.ts"

let cwd = ""
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), "command-checks-"))
})
afterAll(() => rmSync(cwd, { recursive: true, force: true }))

type Command = string | readonly string[]

async function run(command: Command, more: Partial<CommandCheckOptions> = {}, signal = new AbortController().signal): Promise<GoalCheckResult> {
  const [result] = await commandChecks({ cwd, ...more })({ turnId: "t.1", checks: [{ name: "it", command }] }, { signal })
  if (result === undefined) throw new Error("There is no result.")
  return result
}

/** A program of Node's, as a list. */
const node = (code: string): readonly string[] => [process.execPath, "-e", code]
const sh = (code: string): readonly string[] => ["/bin/sh", "-c", code]

/** Waits for the id of a process that a program has written. */
async function pidIn(file: string): Promise<number> {
  for (let tries = 0; tries < 500; tries += 1) {
    const text = existsSync(file) ? readFileSync(file, "utf8").trim() : ""
    if (text !== "") return Number(text)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`${file} was not written.`)
}

/** Whether a process runs. One that has ended and whose parent has not noticed does not. */
function isRunning(pid: number): boolean {
  const { stdout } = spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" })
  return stdout.trim() !== "" && !stdout.trim().startsWith("Z")
}

describe("a command check", () => {
  test("passes if its program exits with 0, with the end of its output", async () => {
    expect(await run("echo all good")).toEqual({ name: "it", ok: true, exitCode: 0, tail: "all good" })
  })

  test("fails with the exit code, with output and errors in the order in which they were written", async () => {
    const code =
      "process.stdout.write('one\\n', () => setTimeout(() => process.stderr.write('two\\n', () => setTimeout(() => { console.log('three'); process.exitCode = 3 }, 100)), 100))"
    expect(await run(node(code))).toEqual({ name: "it", ok: false, exitCode: 3, tail: "one\ntwo\nthree" })
  })

  test("reads nothing, and has the folder and the environment of its options", async () => {
    const code =
      "process.stdin.on('data', () => {}); process.stdin.on('end', () => console.log(process.cwd() === process.env.HERE, process.env.A, process.env.B))"
    expect(
      await run(node(code), { env: { ...process.env, A: "1", HERE: execFileSync("pwd", ["-P"], { cwd, encoding: "utf8" }).trim() } }),
    ).toMatchObject({
      ok: true,
      tail: "true 1 undefined",
    })
  })

  test("of one text runs without a shell; with one, if the options say so", async () => {
    expect(await run("echo a | tr a b")).toMatchObject({ ok: false, tail: expect.stringContaining("a pipe, which only a shell understands") })
    expect(await run("echo a | tr a b", { shell: true })).toMatchObject({ ok: true, tail: "b" })
    expect(await run(["echo", "a | b", "$HOME"], { shell: true })).toMatchObject({ ok: true, tail: "a | b $HOME" })
  })

  test("that ends by a signal has failed and says so", async () => {
    const result = await run(sh("echo dying; kill -SEGV $$"))
    expect(result).toEqual({ name: "it", ok: false, tail: "dying\n[The command was ended by SIGSEGV.]" })
  })

  test.each<[what: string, command: Command, tail: string | RegExp]>([
    ["a program that does not exist", "no-such-program-here --now", 'The program "no-such-program-here" was not found.'],
    ["an empty command", "", "The command is empty."],
    ["an empty list", [], "The command is empty."],
    ["an argument that no program can have", ["echo", "a\0b"], /null bytes/],
  ])("%s is a failed check", async (_what, command, tail) => {
    expect(await run(command)).toEqual({ name: "it", ok: false, tail: typeof tail === "string" ? tail : expect.stringMatching(tail) })
  })

  test("a file that is not executable, and a folder that is missing, are named", async () => {
    const file = join(cwd, "plain.txt")
    writeFileSync(file, "hello")
    chmodSync(file, 0o644)
    expect(await run([file])).toMatchObject({ ok: false, tail: `The program ${JSON.stringify(file)} is not executable.` })
    expect(await run("echo", { cwd: join(cwd, "missing") })).toMatchObject({
      ok: false,
      tail: expect.stringMatching(/The folder ".*missing".* does not exist/),
    })
  })

  test("keeps the end of 100 MB of output", async () => {
    const code =
      "const line = Buffer.alloc(1 << 20, 'é'); let n = 0; const more = () => { if (n++ < 100) process.stdout.write(line, more); else process.stdout.write('\\nthe end 😀\\n') }; more()"
    const { ok, tail } = await run(node(code), { maxTailChars: 1_000 })
    expect(ok).toBe(true)
    expect(tail.length).toBeLessThanOrEqual(1_000)
    expect(tail).toMatch(/^é+\nthe end 😀$/)
  })

  test("does not cut a character in two", async () => {
    expect((await run(["echo", "😀".repeat(10)], { maxTailChars: 5 })).tail).toBe("😀😀")
  })
})

describe("a command check is ended with its children", () => {
  test("when it takes too long, although it ignores SIGTERM", async () => {
    const file = join(cwd, "stubborn")
    const began = performance.now()
    const result = await run(
      sh(`trap '' TERM; (trap '' TERM; echo $$; exec sleep 60) & echo $! > ${file}; echo waiting; while true; do sleep 1; done`),
      { timeoutMs: 300 },
    )
    expect(result).toEqual({
      name: "it",
      ok: false,
      tail: expect.stringMatching(/waiting.*\n\[The command was stopped: it took longer than 300 ms\.\]$/s),
    })
    expect(performance.now() - began).toBeGreaterThan(2_000)
    expect(performance.now() - began).toBeLessThan(50_000)
    expect(isRunning(await pidIn(file))).toBe(false)
  })

  test("when it exits and leaves a child that has its output open", async () => {
    const file = join(cwd, "left")
    const began = performance.now()
    const result = await run(sh(`sleep 60 & echo $! > ${file}; echo done`))
    expect(result).toEqual({ name: "it", ok: true, exitCode: 0, tail: "done" })
    expect(performance.now() - began).toBeLessThan(50_000)
    expect(isRunning(await pidIn(file))).toBe(false)
  })

  test("when the run is aborted; the checks after it do not begin", async () => {
    const file = join(cwd, "aborted")
    const later = join(cwd, "later")
    const controller = new AbortController()
    const checks = [
      { name: "one", command: sh(`sleep 60 & echo $! > ${file}; wait`) },
      { name: "two", command: ["touch", later] },
    ]
    const running = commandChecks({ cwd })({ turnId: "t.1", checks }, { signal: controller.signal })
    const pid = await pidIn(file)
    expect(isRunning(pid)).toBe(true)
    controller.abort(new Error("Enough."))
    await expect(running).rejects.toThrow("Enough.")
    expect(isRunning(pid)).toBe(false)
    expect(existsSync(later)).toBe(false)
  })

  test("when this process exits", async () => {
    const file = join(cwd, "exits")
    const module = new URL("../../../src/hosts/node/process-group.ts", import.meta.url).pathname
    const program = join(cwd, "exits.ts")
    writeFileSync(
      program,
      `import { spawn } from "node:child_process"
       import { killAtExit } from ${JSON.stringify(module)}
       const child = spawn("/bin/sh", ["-c", "trap '' TERM; echo $$ > ${file}; sleep 60 & wait"], { detached: true, stdio: "ignore" })
       killAtExit(child.pid)
       setTimeout(() => process.exit(0), 300)`,
    )
    const tsx = spawnSync(process.execPath, ["--import", "tsx", program], { encoding: "utf8", cwd: new URL("../../..", import.meta.url).pathname })
    expect(tsx.stderr).toBe("")
    const pid = await pidIn(file)
    for (let tries = 0; tries < 50 && isRunning(pid); tries += 1) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(isRunning(pid)).toBe(false)
  })

  test("leaves no listener and no timer", async () => {
    const listeners = process.listenerCount("exit")
    const controller = new AbortController()
    for (let count = 0; count < 5; count += 1) await run("true", {}, controller.signal)
    expect(process.listenerCount("exit")).toBe(listeners)
  })
})
