import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { paymentAgent, placeOf } from "./agent.ts"
import { decide, type OpenRequest, openRequests } from "./desk.ts"

vi.setConfig({ testTimeout: 3_600_000, hookTimeout: 60_000 })

// `KILL_EVERY=1 npm test` kills at every change to a file; by default, only at some of them.
const KILL_EVERY = Number(process.env["KILL_EVERY"] ?? "40")
const RANDOM_KILLS = Number(process.env["RANDOM_KILLS"] ?? "2")

const HERE = fileURLToPath(new URL(".", import.meta.url))
const STEPS = [["start.ts"], ["list.ts"], ["decide.ts", "carol", "approve", "bob", "reject", "Not due yet.", "ann", "edit", "100"]] as const
const PAID = ["Ann 100", "Carol 40"]

const root = mkdtempSync(join(tmpdir(), "approvals-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let places = 0

/** The files after the first `steps` processes, which were not killed. */
function folderAfter(steps: number): string {
  places += 1
  const folder = join(root, `place-${places}`)
  if (steps > 0) cpSync(join(root, `after-${steps}`), folder, { recursive: true })
  return folder
}

interface Ran {
  /** `null`: the process was killed. */
  readonly exitCode: number | null
  readonly output: string
}

function run(
  folder: string,
  step: readonly string[],
  options: { readonly killAt?: number; readonly killAfterMs?: number; readonly by?: string } = {},
) {
  const { killAt, killAfterMs, by = "ada" } = options
  const flags = ["--import", "tsx", ...(killAt === undefined ? [] : ["--import", "./kill.ts"])]
  const env = { ...process.env, PAYMENTS_FOLDER: folder, APPROVER: by, KILL_AT: `${killAt ?? 0}` }
  return new Promise<Ran>((resolve) => {
    const child = spawn(process.execPath, [...flags, ...step], { cwd: HERE, env })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (output += data.toString()))
    const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs)
    child.on("close", (exitCode) => {
      clearTimeout(timer)
      resolve({ exitCode, output })
    })
  })
}

/** Runs a step and those after it to their end. */
async function finish(folder: string, from: number): Promise<string> {
  let output = ""
  for (const step of STEPS.slice(from)) {
    const ran = await run(folder, step)
    expect(ran.exitCode, ran.output).toBe(0)
    output = ran.output
  }
  return output
}

function paidIn(folder: string): readonly string[] {
  return placeOf(folder)
    .ledger.payments.map(({ to, euros }) => `${to} ${euros}`)
    .toSorted()
}

let durationMs = 0
beforeAll(async () => {
  const folder = join(root, "whole")
  for (const [index, step] of STEPS.entries()) {
    const before = Date.now()
    const ran = await run(folder, step)
    durationMs = Date.now() - before
    expect(ran.exitCode, ran.output).toBe(0)
    cpSync(folder, join(root, `after-${index + 1}`), { recursive: true })
  }
})

test("three processes: the approved calls pay, with the edited amount, and the denied one does not", () => {
  expect(paidIn(join(root, "after-1"))).toEqual([])
  expect(paidIn(join(root, "after-2"))).toEqual([])
  expect(paidIn(join(root, "after-3"))).toEqual(PAID)
})

describe("a process that is killed", () => {
  test.each([
    [1, "starts"],
    [2, "lists"],
    [3, "decides and pays"],
  ])("process %i, while it %s: it is started again, and money moves exactly once", async (number) => {
    const before = number - 1
    let kills = 0
    for (let killAt = 1; ; killAt += KILL_EVERY) {
      const folder = folderAfter(before)
      const killed = await run(folder, STEPS[before] ?? [], { killAt })
      if (killed.exitCode !== null) {
        expect(killed.exitCode, killed.output).toBe(0)
        break
      }
      kills += 1
      const output = await finish(folder, before)
      expect(paidIn(folder), `killed at ${killAt}: ${killed.output}${output}`).toEqual(PAID)
      expect(output).toContain("The turn ended")
    }
    expect(kills).toBeGreaterThan(0)
  })

  test("at random times, until one process is not killed", async () => {
    for (let round = 0; round < RANDOM_KILLS; round += 1) {
      const folder = folderAfter(2)
      const times: number[] = []
      for (let exitCode: number | null = null; exitCode === null && times.length < 5; ) {
        times.push(Math.round(durationMs * (0.5 + Math.random())))
        exitCode = (await run(folder, STEPS[2], { killAfterMs: times.at(-1) ?? 0 })).exitCode
      }
      await finish(folder, 2)
      expect(paidIn(folder), `killed after ${times.join(", ")} ms`).toEqual(PAID)
    }
  })
})

test("of two people who decide at once, one wins for each call, and the other reads who", async () => {
  const folder = folderAfter(2)
  const [ada, eve] = await Promise.all([
    run(folder, ["decide.ts", "ann", "approve", "bob", "approve", "carol", "approve"], { by: "ada" }),
    run(folder, ["decide.ts", "carol", "reject", "No.", "bob", "reject", "No.", "ann", "reject", "No."], { by: "eve" }),
  ])
  expect([ada.exitCode, eve.exitCode], ada.output + eve.output).toEqual([0, 0])
  const wonBy = (callId: string) => [ada, eve].filter(({ output }) => new RegExp(`${callId}: accepted`).test(output))
  for (const callId of ["ann", "bob", "carol"]) {
    expect(wonBy(callId)).toHaveLength(1)
    const [winner, loser] = wonBy(callId)[0] === ada ? ["ada", eve] : ["eve", ada]
    expect(loser.output).toMatch(new RegExp(`${callId}: refused \\(409\\) .*by "${winner}"`))
  }
  const approved = ["ann", "bob", "carol"].filter((callId) => wonBy(callId)[0] === ada)
  expect(paidIn(folder).map((payment) => payment.split(" ")[0]?.toLowerCase())).toEqual(approved)
})

describe("the desk", () => {
  async function posted(open: OpenRequest, decision: object, change: (body: { request: object; decision: object }) => object = (body) => body) {
    const { requestId, digest } = open.request
    const body = change({ request: open.request, decision: { requestId, digest, ...decision } })
    return new Request("http://localhost/approvals", { method: "POST", body: JSON.stringify(body) })
  }
  async function desk() {
    const place = placeOf(folderAfter(2))
    const [first] = await openRequests(place)
    if (first === undefined) throw new Error("Nothing is held.")
    return { place, first, tools: paymentAgent(place).config.tools ?? [] }
  }

  test("refuses a decision about a tool that has changed, and still accepts a rejection", async () => {
    const { place, first, tools } = await desk()
    const changed = tools.map((tool) => ({ ...tool, description: "Pays an invoice, and tips." }))
    for (const decision of [{ decision: "approve" }, { decision: "edit", args: { to: "Ann", euros: 1 } }]) {
      const response = await decide(await posted(first, decision), place, "ada", changed)
      expect(response.status).toBe(409)
      expect(await response.json()).toMatchObject({ code: "tool_changed" })
    }
    expect((await decide(await posted(first, { decision: "reject" }), place, "ada", changed)).status).toBe(200)
  })

  test("refuses a request that was not signed here, and records who is signed in, not who the client says", async () => {
    const { place, first, tools } = await desk()
    const forged = await posted(first, { decision: "approve" }, ({ request, decision }) => ({ request: { ...request, digest: "0" }, decision }))
    expect((await decide(forged, place, "ada", tools)).status).toBe(403)
    expect((await decide(await posted(first, { decision: "approve", by: "the boss" }), place, "eve", tools)).status).toBe(200)
    const contrary = await decide(await posted(first, { decision: "reject" }), place, "ada", tools)
    expect(await contrary.json()).toMatchObject({ code: "call_already_decided", message: expect.stringContaining('by "eve"') })
  })

  test("accepts the same decision twice", async () => {
    const { place, first, tools } = await desk()
    const answers = [1, 2].map(async () => {
      const response = await decide(await posted(first, { decision: "approve" }), place, "ada", tools)
      return ((await response.json()) as { readonly status: string }).status
    })
    expect((await Promise.all(answers)).toSorted()).toEqual(["accepted", "stale"])
  })

  test("stores an inbox that is whole, or none", async () => {
    const folder = folderAfter(1)
    writeFileSync(`${placeOf(folder).inbox}.new`, "half of")
    await run(folder, STEPS[1])
    expect(JSON.parse(readFileSync(placeOf(folder).inbox, "utf8"))).toHaveLength(3)
  })
})
