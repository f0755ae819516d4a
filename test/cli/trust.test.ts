import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { cli } from "../../src/cli/cli.ts"
import { isSameFolder } from "../../src/cli/trust/own-states.ts"
import { readOwnFiles } from "../../src/cli/workspace/own-files.ts"
import type { Json } from "../../src/json.ts"
import { JournalWriter, readJournal } from "../../src/replay/journal.ts"
import { fill, newFolder, newShop, type Ran, runCli, serve } from "./harness.ts"

const isRoot = process.getuid?.() === 0
const isWindows = process.platform === "win32"

interface Call {
  readonly name: string
  readonly args: object
}

/** An endpoint that refuses its first call and then answers with these calls and "Done.", and what it was sent. */
async function endpoint({
  failures = 0,
  calls = [] as readonly Call[],
} = {}): Promise<{ readonly url: string; readonly keys: (string | undefined)[] }> {
  const keys: (string | undefined)[] = []
  const url = await serve((body, response, request) => {
    keys.push(request.headers.authorization)
    if (keys.length <= failures) return void response.writeHead(400).end('{"error":{"message":"not now"}}')
    const { messages } = JSON.parse(body) as { messages: readonly { role: string }[] }
    const call = messages.some(({ role }) => role === "assistant") ? undefined : calls
    const asked = call?.map(({ name, args }, index) => ({ id: `c${index}`, type: "function", function: { name, arguments: JSON.stringify(args) } }))
    const message = {
      role: "assistant",
      ...(asked === undefined || asked.length === 0 ? { content: "Done." } : { content: null, tool_calls: asked }),
    }
    response.setHeader("content-type", "application/json").end(JSON.stringify({ choices: [{ index: 0, finish_reason: "stop", message }] }))
  })
  return { url, keys }
}

/** A user with a home of their own. */
function user(): { readonly home: string; readonly env: Record<string, string> } {
  const home = newFolder()
  return { home, env: { XDG_STATE_HOME: "", HOME: home } }
}

const SECRET = "sk-of-the-victim"

/** A project of another author, with the state of a run that stopped at its endpoint. */
async function hostileProject(author = user()): Promise<{ readonly base: string; readonly stolen: Awaited<ReturnType<typeof endpoint>> }> {
  const { base } = newShop()
  const stolen = await endpoint({ failures: 1 })
  const args = ["run", "--dir", "shop", "--out", "out", "--base-url", stolen.url, "--model", "big", "--api-key-env", "AWS_SECRET_ACCESS_KEY"]
  const ran = await runCli([...args, "--retries", "0", "--state", "run.json", "Send it."], {
    cwd: base,
    env: { ...author.env, AWS_SECRET_ACCESS_KEY: "author" },
  })
  expect(ran.exitCode).toBe(1)
  stolen.keys.length = 0
  // Git does not preserve permissions.
  chmodSync(join(base, "run.json"), 0o644)
  return { base, stolen }
}

/** A run of an own project, stopped before its first tool call; the rest of it uses the embedded model. */
async function ownRun(owner: ReturnType<typeof user>, name = "run.json"): Promise<{ readonly base: string; readonly path: string }> {
  const { base } = newShop()
  await stop(base, owner, name)
  return { base, path: join(base, name) }
}

async function stop(base: string, { env }: ReturnType<typeof user>, name: string): Promise<void> {
  let pressed = false
  const ran = await runCli(["run", "--dir", "shop", "--out", `out-${name}`, "--state", name], {
    cwd: base,
    env,
    onOutput: (stdout, interrupt) => {
      if (pressed || !stdout.includes("list_files")) return
      pressed = true
      interrupt()
    },
  })
  expect(ran.exitCode).toBe(1)
}

function metaOf(path: string): { readonly [key: string]: Json } {
  return readJournal(readFileSync(path, "utf8")).header.meta as { readonly [key: string]: Json }
}

/** Changes the settings in a state file, with valid checksums. Its permissions stay. */
function editMeta(path: string, change: { readonly [key: string]: Json }): void {
  const { header, entries } = readJournal(readFileSync(path, "utf8"))
  const writer = new JournalWriter()
  let text = writer.line({ ...header, meta: { ...(header.meta as object), ...change } })
  for (const { record, fingerprint } of entries) text += writer.line(record, fingerprint)
  writeFileSync(path, text)
}

function recordsOf({ home }: ReturnType<typeof user>): string {
  return join(home, ".local/state/turn-machine")
}

function refusal(ran: Ran): string {
  expect(ran).toMatchObject({ exitCode: 2, stdout: "" })
  return ran.stderr
}

describe("a state file that came with a project", () => {
  it("is refused, and the refusal shows what it asks for and what to type", async () => {
    const { base, stolen } = await hostileProject()
    const text = readFileSync(join(base, "run.json"), "utf8")
    const victim = user()
    const ran = await runCli(["resume", "run.json"], { cwd: base, env: { ...victim.env, AWS_SECRET_ACCESS_KEY: SECRET } })
    expect(refusal(ran)).toBe(
      `turn-machine: The state file ${base}/run.json may have settings that are not yours: ${recordsOf(victim)} has no record that you started it. To resume it, give them again: --dir, --out, --base-url, --model and --api-key-env.
It asks for:
   reads    ${base}/shop
   writes   ${base}/out
   endpoint ${stolen.url}
   model    big
   key in   AWS_SECRET_ACCESS_KEY
   task     Send it.
To accept exactly these settings, add: --dir ${base}/shop --out ${base}/out --base-url ${stolen.url} --model big --api-key-env AWS_SECRET_ACCESS_KEY
`,
    )
    expect(stolen.keys).toEqual([])
    expect(readFileSync(join(base, "run.json"), "utf8")).toBe(text)
    expect(readdirSync(base).sort()).toEqual(["run.json", "shop"])
    expect(readdirSync(victim.home)).toEqual([])
  })

  it.each<readonly [string, readonly string[]]>([
    ["the settings are confirmed", ["resume", "run.json", "--dir", "shop", "--out", "out", "--api-key-env", "AWS_SECRET_ACCESS_KEY"]],
    ["all other settings are valid", ["run", "--dir", "nowhere", "--base-url", "http://localhost/v1", "--model", "m", "--api-key-env", "MY_KEY"]],
  ])("reads no key before %s", async (_, args) => {
    const { base } = await hostileProject()
    const read: string[] = []
    const get = (target: Readonly<Record<string, string>>, name: string | symbol): string | undefined => {
      read.push(String(name))
      return target[String(name)]
    }
    const env = new Proxy<Readonly<Record<string, string>>>({ HOME: newFolder(), AWS_SECRET_ACCESS_KEY: SECRET, MY_KEY: "mine" }, { get })
    const write = (): void => {}
    const io = { stdout: { write }, stderr: { write }, env, cwd: base, onInterrupt: () => () => {}, exit: () => {} }
    expect(await cli(args, io)).toBe(2)
    expect(read.filter((name) => name.includes("KEY"))).toEqual([])
  })

  it.each([
    ["--dir", "shop"],
    ["--out", "out"],
    ["--base-url", "URL"],
    ["--model", "big"],
    ["--api-key-env", "AWS_SECRET_ACCESS_KEY"],
  ])("is refused without %s", async (left) => {
    const { base, stolen } = await hostileProject()
    const flags = [
      ["--dir", "shop"],
      ["--out", "out"],
      ["--base-url", stolen.url],
      ["--model", "big"],
      ["--api-key-env", "AWS_SECRET_ACCESS_KEY"],
    ]
    const given = flags.filter(([flag]) => flag !== left).flat()
    const ran = await runCli(["run", "--state", "run.json", "--resume", ...given], {
      cwd: base,
      env: { ...user().env, AWS_SECRET_ACCESS_KEY: SECRET },
    })
    expect(refusal(ran)).toContain(`To resume it, give them again: ${left}.\n`)
    expect(stolen.keys).toEqual([])
  })

  it("is resumed with the settings that the flags give, which are shown first and count from then on", async () => {
    const { base, stolen } = await hostileProject()
    const victim = user()
    const env = { ...victim.env, AWS_SECRET_ACCESS_KEY: SECRET, MY_KEY: "mine" }
    const mine = await endpoint({ failures: 1 })
    const flags = ["--dir", "shop/src", "--out", "mine", "--base-url", mine.url, "--model", "big", "--api-key-env", "MY_KEY"]
    const first = await runCli(["resume", "run.json", ...flags, "--retries", "0"], { cwd: base, env })
    expect(first.exitCode).toBe(1)
    expect(first.stderr).toMatch(
      `turn-machine: Confirmed: it reads ${base}/shop/src, writes to ${base}/mine, model big at ${mine.url}, the key in $MY_KEY.\nturn-machine: The model call`,
    )
    const second = await runCli(["resume", "run.json"], { cwd: base, env })
    expect(second).toMatchObject({ exitCode: 0, stderr: "" })
    expect(second.stdout).toContain(`folder   ${base}/shop/src\n`)
    expect(mine.keys).toEqual(["Bearer mine", "Bearer mine"])
    expect(stolen.keys).toEqual([])
  })

  it("shows its settings before anything is sent", async () => {
    const { base } = await hostileProject()
    let shown = ""
    let atRequest = ""
    const url = await serve((_body, response) => {
      atRequest = shown
      response.writeHead(400).end()
    })
    const write = (text: string): void => {
      shown += text
    }
    const io = { stdout: { write }, stderr: { write }, env: { ...user().env, K: "k" }, cwd: base, onInterrupt: () => () => {}, exit: () => {} }
    const flags = ["--dir", "shop", "--out", "out", "--base-url", url, "--model", "big", "--api-key-env", "K", "--retries", "0", "--json"]
    expect(await cli(["resume", "run.json", ...flags], io)).toBe(1)
    expect(atRequest).toContain(`Confirmed: it reads ${base}/shop, writes to ${base}/out, model big at ${url}, the key in $K.`)
  })

  it("shows the tool calls that resuming performs first, and performs none before", async () => {
    const { base } = newShop()
    const { url } = await endpoint({ calls: [{ name: "write_file", args: { path: ".github/workflows/x.yml", content: "on: push" } }] })
    await runCli(["run", "--dir", "shop", "--out", ".", "--base-url", url, "--model", "m", "--state", "run.json"], { cwd: base, env: user().env })
    const path = join(base, "run.json")
    const { entries } = readJournal(readFileSync(path, "utf8"))
    const answer = entries.findIndex(({ record }) => record.type === "llm_complete")
    writeFileSync(path, readFileSync(path, "utf8").slice(0, entries[answer]?.end))
    const before = readdirSync(base)
    const ran = await runCli(["resume", "run.json", "--dir", "shop"], { cwd: fill(base, {}), env: user().env })
    expect(refusal(ran)).toContain('   next     write_file {"path":".github/workflows/x.yml","content":"on: push"}\n')
    expect(readdirSync(base)).toEqual(before)
  })

  it("cannot control the terminal, fill it or hide in the line to copy", async () => {
    const { base } = await hostileProject()
    const path = join(base, "run.json")
    editMeta(path, {
      dir: "/x\u001b[2J\u009b31m\u202e'; evil #",
      out: "~/",
      task: `\u001b]0;x\u0007${"long ".repeat(100_000)}`,
      baseUrl: "http://evil.example/v1?key=1",
      apiKeyEnv: "$(evil)",
    })
    const stderr = refusal(await runCli(["resume", "run.json"], { cwd: base, env: user().env }))
    expect(stderr).not.toMatch(/(?!\n)[\p{Cc}\p{Bidi_Control}]/u)
    expect(stderr.length).toBeLessThan(2_000)
    expect(stderr).toContain("   reads    /x\ufffd[2J\ufffd31m\ufffd'; evil #\n")
    expect(stderr).toContain("   endpoint http://evil.example/v1\n")
    expect(stderr).toMatch(/add: --dir DIR --out DIR --base-url URL --model big --api-key-env NAME\n$/)
  })

  it("of an ended turn is refused, too", async () => {
    const { base } = newShop()
    expect((await runCli(["run", "--dir", "shop", "--state", "run.json"], { cwd: base, env: user().env })).exitCode).toBe(0)
    expect(refusal(await runCli(["resume", "run.json"], { cwd: base, env: user().env }))).toContain("give them again: --dir and --out.")
  })
})

describe("a run that the user started", () => {
  it("resumes without questions, by a private record outside of the project", async () => {
    const owner = user()
    const { base, path } = await ownRun(owner)
    const records = recordsOf(owner)
    const [name = "", ...others] = readdirSync(records)
    expect(others).toEqual([])
    if (!isWindows) {
      expect(statSync(records).mode & 0o777).toBe(0o700)
      expect(statSync(join(records, name)).mode & 0o777).toBe(0o600)
    }
    expect(JSON.parse(readFileSync(join(records, name), "utf8"))).toMatchObject({
      format: "turn-machine/own-state",
      version: 1,
      type: "run",
      path,
      id: readJournal(readFileSync(path, "utf8")).header.turnId,
      settings: { dir: join(base, "shop"), out: join(base, "out-run.json"), model: "embedded" },
    })
    expect(await runCli(["resume", "run.json"], { cwd: base, env: owner.env })).toMatchObject({ exitCode: 0, stderr: "" })
  })

  it("prefers XDG_STATE_HOME, unless it is relative", async () => {
    const owner = user()
    const { base } = newShop()
    const xdg = newFolder()
    const run = (name: string, XDG_STATE_HOME: string): Promise<Ran> =>
      runCli(["run", "--dir", "shop", "--state", name], { cwd: base, env: { ...owner.env, XDG_STATE_HOME } })
    await run("a.json", xdg)
    expect(readdirSync(join(xdg, "turn-machine"))).toHaveLength(1)
    expect(existsSync(recordsOf(owner))).toBe(false)
    await run("b.json", "state")
    expect(readdirSync(recordsOf(owner))).toHaveLength(1)
    expect(readdirSync(base).sort()).toEqual(["a.json", "b.json", "shop", "turn-machine-out"])
  })

  it("is asked for again after its project was moved, and then resumes at the new place", async () => {
    const owner = user()
    const { base } = await ownRun(owner)
    const moved = join(newFolder(), "moved")
    renameSync(base, moved)
    expect(refusal(await runCli(["resume", "run.json"], { cwd: moved, env: owner.env }))).toContain(
      `may have settings that are not yours: you started it as ${base}/run.json, so it was moved, copied or replaced since. To resume it, give them again: --dir and --out.\n`,
    )
    const ran = await runCli(["resume", "run.json", "--dir", "shop", "--out", "new"], { cwd: moved, env: owner.env })
    expect(ran).toMatchObject({ exitCode: 0, stderr: `turn-machine: Confirmed: it reads ${moved}/shop, writes to ${moved}/new.\n` })
    expect(await runCli(["resume", "run.json"], { cwd: moved, env: owner.env })).toMatchObject({ exitCode: 0, stderr: "" })
    expect(existsSync(join(moved, "new/todo-report.md"))).toBe(true)
  })

  it("keeps its own settings when another author edits those in its file", async () => {
    const owner = user()
    const { base, path } = await ownRun(owner)
    const outside = fill(newFolder(), { "secret.txt": "TODO: secret\n" })
    editMeta(path, { dir: outside, out: join(base, "elsewhere") })
    expect(metaOf(path)["dir"]).toBe(outside)
    const ran = await runCli(["resume", "run.json"], { cwd: base, env: owner.env })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(ran.stdout).toContain(`folder   ${base}/shop\n`)
    expect(readFileSync(join(base, "out-run.json/todo-report.md"), "utf8")).not.toContain("secret")
    expect(existsSync(join(base, "elsewhere"))).toBe(false)
  })

  it.skipIf(isWindows)("is asked for again when its file was replaced, as a pull does", async () => {
    const owner = user()
    const { base, path } = await ownRun(owner)
    const text = readFileSync(path)
    renameSync(path, `${path}.old`)
    writeFileSync(path, text, { mode: 0o644 })
    expect(refusal(await runCli(["resume", "run.json"], { cwd: base, env: owner.env }))).toContain(
      "it was replaced or has other permissions since you started it",
    )
  })

  it("is asked for again when its folder was replaced", async () => {
    const owner = user()
    const { base } = await ownRun(owner)
    renameSync(base, `${base}-old`)
    cpSync(`${base}-old`, base, { recursive: true })
    chmodSync(join(base, "run.json"), 0o600)
    expect(refusal(await runCli(["resume", "run.json"], { cwd: base, env: owner.env }))).toContain("its folder was replaced since you started it")
    renameSync(`${base}-old`, join(base, "old"))
  })

  it.runIf(isRoot)("is asked for again when its file belongs to another user", async () => {
    const owner = user()
    const { base, path } = await ownRun(owner)
    chownSync(path, 65_534, 65_534)
    expect(refusal(await runCli(["resume", "run.json"], { cwd: base, env: owner.env }))).toContain("it belongs to another user")
  })

  it("is not mixed up with another run at the same time, nor with a command that found the file in use", async () => {
    const owner = user()
    const { base } = newShop()
    let other: Ran | undefined
    let pressed = false
    await Promise.all([
      stop(base, owner, "b.json"),
      runCli(["run", "--dir", "shop", "--state", "a.json"], {
        cwd: base,
        env: owner.env,
        onOutput: (stdout, interrupt) => {
          if (pressed || !stdout.includes("list_files")) return
          pressed = true
          void runCli(["run", "--dir", "shop/src", "--state", "a.json", "--resume"], { cwd: base, env: owner.env }).then((ran) => {
            other = ran
          })
          interrupt()
        },
      }),
    ])
    await expect.poll(() => other?.exitCode).toBe(2)
    for (const name of ["a.json", "b.json"])
      expect(await runCli(["resume", name], { cwd: base, env: owner.env })).toMatchObject({ exitCode: 0, stderr: "" })
  })

  it("can be forked, and the fork resumes without questions, but that of another author does not", async () => {
    const owner = user()
    const { base } = await ownRun(owner)
    const fork = (env: Record<string, string>, name: string): Promise<Ran> =>
      runCli(["journal", "fork", "run.json", "--at", "2", "--out", name], { cwd: base, env })
    expect((await fork(owner.env, "own.json")).exitCode).toBe(0)
    expect(await runCli(["resume", "own.json"], { cwd: base, env: owner.env })).toMatchObject({ exitCode: 0, stderr: "" })
    const other = user()
    expect((await fork(other.env, "other.json")).exitCode).toBe(0)
    expect(refusal(await runCli(["resume", "other.json"], { cwd: base, env: other.env }))).toContain("has no record that you started it")
  })
})

describe("the record of a run", () => {
  it.each([
    ["the same folder", { dev: "1", ino: "2", born: "3" }, { dev: "1", ino: "2", born: "3", changed: "9" }, true],
    [
      "the same folder after a restart that changed device numbers",
      { dev: "1", ino: "2", born: "3" },
      { dev: "7", ino: "2", born: "3", changed: "9" },
      true,
    ],
    ["another folder", { dev: "1", ino: "2", born: "3" }, { dev: "1", ino: "4", born: "3", changed: "9" }, false],
    [
      "another folder that reuses the number of a removed one",
      { dev: "1", ino: "2", born: "3" },
      { dev: "1", ino: "2", born: "8", changed: "9" },
      false,
    ],
    ["the same folder without a time of birth", { dev: "1", ino: "2", born: "0" }, { dev: "1", ino: "2", born: "0", changed: "9" }, true],
    ["a folder on another device without a time of birth", { dev: "1", ino: "2", born: "0" }, { dev: "7", ino: "2", born: "0", changed: "9" }, false],
    [
      "the same folder where the last change replaces the birth",
      { dev: "1", ino: "2", born: "3" },
      { dev: "1", ino: "2", born: "9", changed: "9" },
      true,
    ],
    [
      "a folder on another device where the last change replaces the birth",
      { dev: "1", ino: "2", born: "3" },
      { dev: "7", ino: "2", born: "9", changed: "9" },
      false,
    ],
  ])("recognizes %s", (_, recorded, found, same) => {
    expect(isSameFolder(recorded, found)).toBe(same)
  })

  it.each<readonly [string, (home: string) => Record<string, string>, string]>([
    ["without a home", () => ({ HOME: "" }), "neither XDG_STATE_HOME nor HOME names a folder for records of what you started"],
    ["in a home that cannot be written to", () => ({ HOME: "/dev/null" }), "/dev/null/.local/state/turn-machine cannot be used"],
  ])("%s is not needed, and the settings are asked for on resume", async (_, env, why) => {
    const owner = { home: "", env: { XDG_STATE_HOME: "", ...env("") } }
    const { base } = await ownRun(owner)
    expect(refusal(await runCli(["resume", "run.json"], { cwd: base, env: owner.env }))).toContain(why)
    const again = ["resume", "run.json", "--dir", "shop", "--out", "out-run.json"]
    expect((await runCli(again, { cwd: base, env: owner.env })).exitCode).toBe(0)
    expect(refusal(await runCli(["resume", "run.json"], { cwd: base, env: owner.env }))).toContain(why)
  })

  it.skipIf(isWindows).each<readonly [string, (records: string) => void, string]>([
    ["in a folder that others may read, as from a repository", (records) => chmodSync(records, 0o755), "is not private to you"],
    [
      "in a folder reached through a link",
      (records) => {
        renameSync(records, `${records}-real`)
        symlinkSync(`${records}-real`, records)
      },
      "is not a folder of yours",
    ],
    ["that others may read", (records) => chmodSync(join(records, readdirSync(records)[0] ?? ""), 0o644), "has no record that you started it"],
    [
      "that is a link",
      (records) => {
        const path = join(records, readdirSync(records)[0] ?? "")
        renameSync(path, `${records}-record`)
        symlinkSync(`${records}-record`, path)
      },
      "has no record that you started it",
    ],
    ["that is damaged", (records) => writeFileSync(join(records, readdirSync(records)[0] ?? ""), "{"), "has no record that you started it"],
    [
      "that is huge",
      (records) => appendFileSync(join(records, readdirSync(records)[0] ?? ""), " ".repeat(200_000)),
      "has no record that you started it",
    ],
  ])("%s does not count", async (_, forge, why) => {
    const owner = user()
    const { base } = await ownRun(owner)
    forge(recordsOf(owner))
    expect(refusal(await runCli(["resume", "run.json"], { cwd: base, env: owner.env }))).toContain(why)
  })

  it.runIf(isRoot)("in a folder of another user does not count, and the superuser creates none in the home of another user", async () => {
    const owner = user()
    const { base } = await ownRun(owner)
    chownSync(recordsOf(owner), 65_534, 65_534)
    expect(refusal(await runCli(["resume", "run.json"], { cwd: base, env: owner.env }))).toContain("is not a folder of yours")
    const other = user()
    chownSync(other.home, 65_534, 65_534)
    await ownRun(other)
    expect(readdirSync(other.home)).toEqual([])
  })

  it("that came with a project, together with the run, does not count", async () => {
    // The project is the home, as in some containers.
    const author = { home: newFolder(), env: {} as Record<string, string> }
    const env = { XDG_STATE_HOME: "", HOME: author.home }
    cpSync(join((await ownRun({ home: "", env: user().env })).base, "shop"), join(author.home, "shop"), { recursive: true })
    await stop(author.home, { home: author.home, env }, "run.json")
    const home = author.home
    renameSync(home, `${home}-old`)
    cpSync(`${home}-old`, home, { recursive: true })
    // As with a strict umask.
    chmodSync(join(home, ".local/state/turn-machine"), 0o700)
    for (const name of readdirSync(join(home, ".local/state/turn-machine"))) chmodSync(join(home, ".local/state/turn-machine", name), 0o600)
    chmodSync(join(home, "run.json"), 0o600)
    expect(refusal(await runCli(["resume", "run.json"], { cwd: home, env }))).toContain("its folder was replaced since you started it")
    renameSync(`${home}-old`, join(home, "old"))
  })

  it("cannot be written by a tool", async () => {
    const owner = user()
    const { base } = await ownRun(owner)
    const { url } = await endpoint({ calls: [{ name: "write_file", args: { path: ".local/state/turn-machine/x.json", content: "{}" } }] })
    const ran = await runCli(["run", "--dir", "shop", "--out", owner.home, "--base-url", url, "--model", "m", "--state", "b.json", "--json"], {
      cwd: base,
      env: owner.env,
    })
    expect(ran.stdout).toContain("is in use by the program itself; choose another name")
    expect(existsSync(join(recordsOf(owner), "x.json"))).toBe(false)
  })

  it("is dropped when there are thousands of newer ones, and what killed processes left is removed", async () => {
    const owner = user()
    const { base } = await ownRun(owner)
    const records = recordsOf(owner)
    const [own = ""] = readdirSync(records)
    utimesSync(join(records, own), 1, 1)
    for (let index = 0; index < 4_999; index += 1) writeFileSync(join(records, `f${index}.json`), "")
    writeFileSync(join(records, "x.json.tmp"), "")
    utimesSync(join(records, "x.json.tmp"), 1, 1)
    writeFileSync(join(records, "y.json.tmp"), "")
    await stop(base, owner, "b.json")
    const names = readdirSync(records)
    expect(names).toHaveLength(5_001)
    expect(names).not.toContain(own)
    expect(names).not.toContain("x.json.tmp")
    expect(names).toContain("y.json.tmp")
  })
})

describe("a link that came with a project", () => {
  it("is not followed at the path of a lock, where files would be removed", async () => {
    const owner = user()
    const { base } = await ownRun(owner)
    const victim = fill(newFolder(), { a: JSON.stringify({ pid: 2 ** 22 + 1, host: "x" }), b: "b", "c.tmp": "c" })
    for (const name of ["run.json", "new.json", "fork.json"]) symlinkSync(victim, join(base, `${name}.lock`))
    const commands = [
      ["run", "--dir", "shop", "--state", "new.json"],
      ["run", "--dir", "shop", "--state", "new.json", "--take-over"],
      ["resume", "run.json", "--take-over"],
      ["journal", "compact", "run.json", "--take-over"],
      ["journal", "fork", "run.json", "--at", "2", "--out", "fork.json"],
    ]
    for (const args of commands)
      expect(refusal(await runCli(args, { cwd: base, env: owner.env }))).toMatch(
        /\.json\.lock is a link, which this program did not make\. Remove it, and try again\.\n$/,
      )
    expect(readdirSync(victim)).toEqual(["a", "b", "c.tmp"])
  })

  it.each(["inbox", "goal.thread", "goal.thread.lock", "goal.1"])("is not followed in a goal's folder: %s", async (name) => {
    const { base } = newShop()
    mkdirSync(join(base, "turn-machine-goal"))
    const target = newFolder()
    symlinkSync(target, join(base, "turn-machine-goal", name))
    for (const args of [
      ["goal", "--dir", "shop"],
      ["goal", "resume"],
      ["goal", "status"],
      ["goal", "pause"],
      ["subgoal", "list"],
    ])
      expect(refusal(await runCli(args, { cwd: base, env: user().env }))).toContain(
        `contains the link ${name}, which this program did not make. Remove it, or pass another --state.`,
      )
    expect(readdirSync(target)).toEqual([])
  })

  it("is not followed where a folder has the default name, unless the user names it", async () => {
    const { shop } = newShop()
    const target = newFolder()
    symlinkSync(target, join(shop, "turn-machine-out"))
    symlinkSync(target, join(shop, "turn-machine-goal"))
    const options = { cwd: shop, env: user().env }
    const refused = (name: string, flag: string): string =>
      `turn-machine: ${shop}/${name} is a link. To use the folder that it leads to, pass ${flag} with its path.\n`
    for (const args of [["run"], ["goal", "--state", "own"]]) expect(refusal(await runCli(args, options))).toBe(refused("turn-machine-out", "--out"))
    for (const args of [
      ["goal", "--out", "own"],
      ["goal", "status"],
      ["goal", "resume"],
      ["subgoal", "list"],
    ])
      expect(refusal(await runCli(args, options))).toBe(refused("turn-machine-goal", "--state"))
    expect(readdirSync(target)).toEqual([])
    expect((await runCli(["run", "--out", "turn-machine-out"], options)).exitCode).toBe(0)
    expect(existsSync(join(target, "todo-report.md"))).toBe(true)
  })

  it.skipIf(isWindows)("is not followed where the list of written files is", async () => {
    const folder = newFolder()
    symlinkSync("/dev/zero", join(folder, ".turn-machine-files.json"))
    expect(await readOwnFiles(folder)).toEqual({})
    const list = { format: "turn-machine/files", version: 1, files: { a: ["x"] } }
    writeFileSync(join(folder, "list.json"), JSON.stringify(list))
    const linked = newFolder()
    symlinkSync(join(folder, "list.json"), join(linked, ".turn-machine-files.json"))
    expect(await readOwnFiles(linked)).toEqual({})
    copyFileSync(join(folder, "list.json"), join(newFolder(), "list.json"))
    expect(await readOwnFiles(fill(newFolder(), { ".turn-machine-files.json": JSON.stringify(list) }))).toEqual(list.files)
  })
})

describe("a goal's folder that came with a project", () => {
  /** A goal of another author that stopped at its endpoint. */
  async function hostileGoal(): Promise<{ readonly base: string; readonly stolen: Awaited<ReturnType<typeof endpoint>> }> {
    const { base } = newShop()
    const stolen = await endpoint({ failures: 100 })
    const args = ["goal", "--dir", "shop", "--out", "out", "--base-url", stolen.url, "--model", "big", "--api-key-env", "AWS_SECRET_ACCESS_KEY"]
    const ran = await runCli([...args, "--retries", "0", "Send it."], { cwd: base, env: { ...user().env, AWS_SECRET_ACCESS_KEY: "author" } })
    expect(ran.exitCode).toBe(1)
    stolen.keys.length = 0
    return { base, stolen }
  }

  it("is refused on resume, and also after its goal was cleared", async () => {
    const { base, stolen } = await hostileGoal()
    const env = { ...user().env, AWS_SECRET_ACCESS_KEY: SECRET }
    const asked = `   reads    ${base}/shop\n   writes   ${base}/out\n   endpoint ${stolen.url}\n   model    big\n   key in   AWS_SECRET_ACCESS_KEY\n   task     Send it.\n`
    const flags = "give them again: --dir, --out, --base-url, --model and --api-key-env.\n"
    const missing = `To resume it, ${flags}`
    for (const args of [
      ["goal", "resume"],
      ["goal", "--resume"],
    ]) {
      const stderr = refusal(await runCli(args, { cwd: base, env }))
      expect(stderr).toContain(`turn-machine: The goal's folder ${base}/turn-machine-goal may have settings that are not yours: `)
      expect(stderr).toContain(missing)
      expect(stderr).toContain(asked)
    }
    expect((await runCli(["goal", "clear"], { cwd: base, env })).exitCode).toBe(0)
    expect(refusal(await runCli(["goal", "Something of my own."], { cwd: base, env }))).toContain(`To start a new goal in it, ${flags}`)
    expect(stolen.keys).toEqual([])
  })

  it("is resumed with the settings that the flags give, which count from then on", async () => {
    const { base, stolen } = await hostileGoal()
    chmodSync(join(base, "turn-machine-goal"), 0o700)
    const mine = await endpoint({ failures: 100 })
    const env = { ...user().env, AWS_SECRET_ACCESS_KEY: SECRET, MY_KEY: "mine" }
    const flags = ["--dir", "shop/src", "--out", "mine", "--base-url", mine.url, "--model", "big", "--api-key-env", "MY_KEY", "--retries", "0"]
    const first = await runCli(["goal", "resume", ...flags], { cwd: base, env })
    expect(first.exitCode).toBe(1)
    expect(first.stderr).toBe(
      `turn-machine: Confirmed: it reads ${base}/shop/src, writes to ${base}/mine, model big at ${mine.url}, the key in $MY_KEY.\n`,
    )
    const asked = mine.keys.length
    expect(asked).toBeGreaterThan(0)
    const second = await runCli(["goal", "resume", "--retries", "0"], { cwd: base, env })
    expect(second).toMatchObject({ exitCode: 1, stderr: "" })
    expect(second.stdout).toContain(`folder   ${base}/shop/src\n`)
    expect(mine.keys.length).toBeGreaterThan(asked)
    expect(new Set(mine.keys)).toEqual(new Set(["Bearer mine"]))
    expect(stolen.keys).toEqual([])
  })

  it("does not run its checks or ask its judge until they are given again", async () => {
    const { base } = newShop()
    const judge = await endpoint({ failures: 100 })
    const state = ["--dir", "shop", "--out", "out", "--max-continuations", "1", "--check", "touch stolen"]
    const judged = ["--judge", "freeform", "--judge-base-url", judge.url, "--judge-model", "big", "--judge-api-key-env", "K"]
    await runCli(["goal", ...state, ...judged, "Do it."], { cwd: base, env: { ...user().env, K: "author" } })
    judge.keys.length = 0
    rmSync(join(base, "shop/stolen"), { force: true })
    const stderr = refusal(await runCli(["goal", "resume"], { cwd: base, env: { ...user().env, K: SECRET } }))
    expect(stderr).toContain("give them again: --dir, --out, --judge-base-url, --judge-model, --judge-api-key-env and --check.\n")
    expect(stderr).toContain(`   judge at ${judge.url}\n   judge    big\n   its key  K\n   runs     touch stolen\n`)
    expect(judge.keys).toEqual([])
    expect(existsSync(join(base, "shop/stolen"))).toBe(false)
  })

  it("of the user resumes without questions, and is private", async () => {
    const owner = user()
    const { base } = newShop()
    await runCli(["goal", "--dir", "shop", "--budget-tokens", "3000"], { cwd: base, env: owner.env })
    if (!isWindows) expect(statSync(join(base, "turn-machine-goal")).mode & 0o777).toBe(0o700)
    const ran = await runCli(["goal", "resume", "--add-tokens", "20000"], { cwd: base, env: owner.env })
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
  })

  it.skipIf(isWindows).each<readonly [string, (state: string) => void, string]>([
    ["other users can write to it", (state) => chmodSync(state, 0o770), "other users can write to it (chmod go-w prevents that)"],
    ["its log was replaced", (state) => chmodSync(join(state, "goal.thread"), 0o644), "goal.thread was replaced or has other permissions"],
    [
      "a request was added",
      (state) => {
        fill(state, { "inbox/000000000000001-1-abcdef12.json": "{}" })
        chmodSync(join(state, "inbox/000000000000001-1-abcdef12.json"), 0o644)
      },
      "inbox/000000000000001-1-abcdef12.json was replaced or has other permissions",
    ],
    ["a turn was replaced", (state) => chmodSync(join(state, "goal.1"), 0o644), "goal.1 was replaced or has other permissions"],
    ["it belongs to another user", (state) => isRoot && chownSync(state, 65_534, 65_534), "it belongs to another user"],
    ["its log belongs to another user", (state) => isRoot && chownSync(join(state, "goal.thread"), 65_534, 65_534), "goal.thread belongs to another"],
  ])("of the user is asked for again when %s", async (_, change, why) => {
    if (why.includes("belongs") && !isRoot) return
    const owner = user()
    const { base } = newShop()
    await runCli(["goal", "--dir", "shop", "--budget-tokens", "3000"], { cwd: base, env: owner.env })
    change(join(base, "turn-machine-goal"))
    const ran = await runCli(["goal", "resume", "--add-tokens", "20000"], { cwd: base, env: owner.env })
    expect(refusal(ran)).toContain(why)
  })

  it("cannot control the terminal by the names of its lock and its folder", async () => {
    const owner = user()
    const base = newFolder()
    const dir = join(base, "d\u001b[2J\u202e")
    fill(dir, { "a/x.js": "// TODO\n" })
    const ran = await runCli(["goal", "--dir", dir], { cwd: base, env: owner.env })
    expect(ran.exitCode).toBe(0)
    const run = await runCli(["run", "--dir", dir], { cwd: base, env: owner.env })
    const json = await runCli(["run", "--dir", dir, "--json"], { cwd: base, env: owner.env })
    fill(join(base, "turn-machine-goal/goal.thread.lock"), { "0123456789abcdef": JSON.stringify({ pid: 7, host: "h\u001b[2J\u009b" }) })
    const status = await runCli(["goal", "status"], { cwd: base, env: owner.env })
    const statusJson = await runCli(["goal", "status", "--json"], { cwd: base, env: owner.env })
    for (const { stdout } of [ran, run, json, status, statusJson]) expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\p{Bidi_Control}]/u)
    expect(JSON.parse(json.stdout.split("\n")[0] ?? "")).toMatchObject({ dir })
    expect(status.stdout).toContain("run by   process 7 on host h\ufffd[2J\ufffd\n")
  })
})

describe("a journal that came with a project", () => {
  /** Adds characters that control a terminal to one text of a value after another. */
  function* hostile(value: Json, into: (changed: Json) => Json = (changed) => changed): Generator<Json> {
    if (typeof value === "string") yield into(`${value}\u001b[2J\u009b31m\u0007\u202e\u2066\r`)
    else if (Array.isArray(value))
      for (const [index, item] of value.entries()) yield* hostile(item as Json, (changed) => into(value.with(index, changed)))
    else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) yield* hostile(item as Json, (changed) => into({ ...value, [key]: changed }))
    }
  }

  it("cannot control the terminal by any of its texts", async () => {
    const owner = user()
    const { base, path } = await ownRun(owner)
    expect((await runCli(["resume", "run.json"], { cwd: base, env: owner.env })).exitCode).toBe(0)
    const { header, entries } = readJournal(readFileSync(path, "utf8"))
    // One record of each type, in an order that can be read.
    const records = [header, entries[0]?.record, entries[1]?.record, entries.at(-1)?.record] as unknown as Json[]
    let shown = 0
    for (const [index, record] of records.entries()) {
      for (const changed of hostile(record)) {
        const writer = new JournalWriter<never>()
        writeFileSync(join(base, "x.json"), records.map((other, at) => writer.line((at === index ? changed : other) as never)).join(""))
        const commands = [
          ["show", "x.json"],
          ["show", "x.json", "--json"],
          ["show", "x.json", "--record", `${index + 1}`],
          ["replay", "x.json"],
          ["replay", "x.json", "--json"],
          ["diff", "run.json", "x.json"],
          ["diff", "run.json", "x.json", "--json"],
          ["fork", "x.json", "--at", "2", "--out", "run.json"],
          ["compact", "x.json"],
        ]
        for (const args of commands) {
          const { stdout, stderr } = await runCli(["journal", ...args], { cwd: base, env: owner.env })
          expect(`${stdout}${stderr}`, `${args.join(" ")}: ${JSON.stringify(changed)}`).not.toMatch(/(?![\n\t])[\p{Cc}\p{Bidi_Control}]/u)
        }
        const { stdout, stderr } = await runCli(["resume", "x.json"], { cwd: base, env: owner.env })
        expect(`${stdout}${stderr}`, `resume: ${JSON.stringify(changed)}`).not.toMatch(/(?![\n\t])[\p{Cc}\p{Bidi_Control}]/u)
        shown += 1
      }
    }
    expect(shown).toBeGreaterThan(30)
  })
})
