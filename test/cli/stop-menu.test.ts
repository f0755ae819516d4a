import type { ServerResponse } from "node:http"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { OutputGate } from "../../src/cli/approvals/asker.ts"
import { StopMenu } from "../../src/cli/run/stop-menu.ts"
import { bundleCli, newShop, type Ran, runCli, serve, TestTerminal, until } from "./harness.ts"
import { hasPty, Pty } from "./pty.ts"

const bundled = await bundleCli()

interface Sent {
  readonly messages: readonly { readonly role: string; readonly content: unknown }[]
}

/** A model that begins to answer, and is silent until it is asked again; then it answers at once. `finish` lets it end its first answer. */
async function slowModel(tool?: string): Promise<{ readonly url: string; readonly sent: Sent[]; finish(): void }> {
  const sent: Sent[] = []
  let open: ServerResponse | undefined
  const chunk = (content: string, reason: string | null = null): string =>
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { role: "assistant", content }, finish_reason: reason }] })}\n\n`
  const end = (response: ServerResponse, text: string): void => void response.end(`${chunk(text, "stop")}data: [DONE]\n\n`)
  const call = (response: ServerResponse, name: string): void => {
    const tool_calls = [{ index: 0, id: "c1", type: "function", function: { name, arguments: '{"status":"complete"}' } }]
    const data = { choices: [{ index: 0, delta: { role: "assistant", tool_calls }, finish_reason: "tool_calls" }] }
    response.end(`data: ${JSON.stringify(data)}\n\ndata: [DONE]\n\n`)
  }
  const url = await serve((body, response) => {
    sent.push(JSON.parse(body) as Sent)
    response.setHeader("content-type", "text/event-stream")
    if (sent.length === 2 && tool !== undefined) return call(response, tool)
    if (sent.length > 1) return end(response, "It is in the cellar.")
    open = response
    response.write(chunk("I will look in the attic"))
  })
  return { url, sent, finish: () => open && end(open, " and there it is.") }
}

function textsOf({ messages }: Sent): readonly string[] {
  return messages.slice(1).map(({ role, content }) => `${role}: ${typeof content === "string" ? content : JSON.stringify(content)}`)
}

const SEEN = "I will look in the attic"

describe("Ctrl-C in a terminal", () => {
  /** Runs a turn and presses Ctrl-C once the model has begun to answer. `presses`: how often at once. */
  async function interrupted(
    terminal: TestTerminal | undefined,
    more: readonly string[] = [],
    presses = 1,
  ): Promise<{ readonly ran: Ran; readonly sent: readonly Sent[]; readonly base: string }> {
    const { base } = newShop()
    const { url, sent, finish } = await slowModel()
    let isPressed = false
    if (terminal !== undefined) terminal.onLine = finish
    const ran = await runCli(["run", "--dir", "shop", "--base-url", url, "--model", "m", ...more, "Where is it?"], {
      cwd: base,
      isTTY: true,
      env: { NO_COLOR: "1" },
      ...(terminal !== undefined && { terminal }),
      onOutput(stdout, interrupt) {
        if (isPressed || !stdout.includes(SEEN)) return
        isPressed = true
        for (let press = 0; press < presses; press += 1) interrupt()
      },
    })
    return { ran, sent, base }
  }

  it("redirects the turn with what is typed, which its journal records", async () => {
    const terminal = new TestTerminal(["  Look in the cellar.  "])
    const { ran, sent, base } = await interrupted(terminal, ["--state", "s.json"])
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect(sent.map(textsOf)[1]?.at(-1)).toBe("user: Look in the cellar.")
    expect(sent.map(textsOf)[1]?.at(1)).toContain("assistant: I will look in the attic")
    expect(ran.stdout).toContain("The user redirected the turn.")
    expect(ran.stdout).toContain("It is in the cellar.")
    const shown = await runCli(["journal", "show", "s.json"], { cwd: base, columns: 200 })
    expect(shown.stdout).toContain("the user redirects the turn: Look in the cellar.")
    expect((await runCli(["journal", "replay", "s.json"], { cwd: base })).exitCode).toBe(0)
  })

  it.each([["", "s", "STOP"]].flat())("stops the run with %j", async (answer) => {
    const { ran, sent } = await interrupted(new TestTerminal([answer]))
    expect(ran.exitCode).toBe(1)
    expect(ran.stdout).toContain("outcome  stopped: cancelled")
    expect(sent).toHaveLength(1)
  })

  it("stops a run with a state file so that it can be resumed", async () => {
    const { ran } = await interrupted(new TestTerminal([""]), ["--state", "s.json"])
    expect(ran.exitCode).toBe(1)
    expect(ran.stdout).toContain("outcome  stopped, can be resumed")
  })

  it.each(["c", "Continue", undefined])("lets the run continue with %j; what it said meanwhile follows", async (answer) => {
    const { ran, sent } = await interrupted(new TestTerminal([answer]))
    expect([ran.exitCode, sent.length]).toEqual([0, 1])
    expect(ran.stdout.replaceAll(/\s+/g, " ")).toContain(`${SEEN} and there it is.`)
  })

  it("stops at once when it is pressed again, and ends the process when pressed a third time", async () => {
    const terminal = new TestTerminal([])
    const twice = await interrupted(terminal, [], 2)
    expect(twice.ran).toMatchObject({ exitCode: 1 })
    expect(twice.ran).not.toHaveProperty("exitedAtOnceWith")
    expect(twice.ran.stdout).toContain("outcome  stopped: cancelled")
    expect(terminal.shown).toContain("Stopped.\n")
    expect((await interrupted(new TestTerminal([]), [], 3)).ran).toMatchObject({ exitedAtOnceWith: 1 })
  })

  it("is closed by the end of the run", async () => {
    const terminal = new TestTerminal([])
    const { ran } = await interrupted(terminal)
    expect(ran.exitCode).toBe(0)
    expect(terminal.shown).toContain("The run has ended.\n")
    expect(ran.stdout).toContain("outcome  finished")
  })

  it.each([
    ["Look in the cellar.", 0],
    ["", 1],
  ])("asks about a goal as well: %j", async (answer, exitCode) => {
    const { base } = newShop()
    const { url, sent } = await slowModel("update_goal")
    const terminal = new TestTerminal([answer])
    let isPressed = false
    const args = ["goal", "--dir", "shop", "--base-url", url, "--model", "m", "Find it."]
    const ran = await runCli(args, {
      cwd: base,
      isTTY: true,
      env: { NO_COLOR: "1" },
      terminal,
      onOutput(stdout, interrupt) {
        if (isPressed || !stdout.includes(SEEN)) return
        isPressed = true
        interrupt()
      },
    })
    expect(terminal.shown, ran.stderr + ran.stdout).toContain("── the goal still runs ─")
    expect([ran.exitCode, ran.stderr]).toEqual([exitCode, ""])
    if (answer === "") expect(ran.stdout).toContain("stopped, can be resumed")
    else {
      expect(sent.map(textsOf)[1]?.at(-1)).toContain("user: Look in the cellar.")
      expect(ran.stdout).toContain("The user redirected the turn.")
      expect((await runCli(["journal", "show", "turn-machine-goal/goal.1"], { cwd: base, columns: 200 })).stdout).toContain(
        "the user redirects the turn: Look in the cellar.",
      )
    }
  })

  it("is asked without colours and drawn lines with --plain", async () => {
    const terminal = new TestTerminal([""])
    const { ran } = await interrupted(terminal, ["--plain"])
    expect(terminal.shown).toMatch(/^\nthe turn still runs:\nEnter or s stops it, /)
    expect(ran.stdout).toContain("outcome  stopped: cancelled")

    const { base } = newShop()
    const asked = new TestTerminal(["a"])
    const args = ["run", "--dir", "shop", "--edit", "--plain", 'Replace "TODO" with "LATER"']
    await runCli(args, { cwd: base, isTTY: true, env: { FORCE_COLOR: "1" }, terminal: asked })
    expect(asked.shown).toMatch(/^\napproval 1 of \d+:\n/)
    for (const char of ["\u001b", "─"]) expect(asked.shown).not.toContain(char)
  })

  it("asks nothing without a terminal", async () => {
    const { ran } = await interrupted(undefined)
    expect(ran.stdout).toContain("outcome  stopped: cancelled")
  })
})

describe("the menu", () => {
  it.each([40, 80, 120])("fits %i columns", (columns) => {
    const terminal = new TestTerminal([], columns)
    new StopMenu({ terminal, env: { NO_COLOR: "1" }, gate: new OutputGate(), onOpen() {}, stop() {}, redirect: async () => true }).open()
    for (const line of terminal.shown.split("\n")) expect(line.length).toBeLessThan(columns)
    expect(terminal.shown.replaceAll(/\s+/g, " ")).toContain("Enter or s stops it, c or Esc lets it continue. Or type what to do instead: > ")
  })

  it("says that nothing was redirected, and why a redirection failed", async () => {
    const shown = async (redirect: () => Promise<boolean>): Promise<string> => {
      const terminal = new TestTerminal(["Look."])
      const menu = new StopMenu({ terminal, env: {}, gate: new OutputGate(), onOpen() {}, stop() {}, redirect })
      menu.open()
      await menu.closed
      expect(menu.isOpen).toBe(false)
      return terminal.shown
    }
    expect(await shown(async () => false)).toContain("The turn had ended, so it was not redirected.\n")
    expect(await shown(() => Promise.reject(new Error("No\u001b room.")))).toMatch(/This could not be done: No.* room\.\n/)
  })
})

describe.skipIf(!hasPty)("Ctrl-C in a real terminal", () => {
  async function started(more: readonly string[] = []): Promise<{ readonly pty: Pty; readonly sent: readonly Sent[]; finish(): void }> {
    const { base } = newShop()
    const { url, sent, finish } = await slowModel()
    const pty = new Pty(
      bundled,
      ["run", "--dir", "shop", "--state", join(base, "s.json"), "--base-url", url, "--model", "m", ...more, "Where is it?"],
      {
        cwd: base,
      },
    )
    await pty.waitFor(SEEN)
    pty.type("\u0003")
    await pty.waitFor("> ")
    return { pty, sent, finish }
  }

  it("redirects with a line that is edited while it is typed", async () => {
    const { pty, sent } = await started()
    pty.type("Look in the cellat\u007fr.\r")
    await pty.waitFor("It is in the cellar.")
    expect(await pty.ended).toBe(0)
    expect(sent.map(textsOf)[1]?.at(-1)).toBe("user: Look in the cellar.")
  })

  it("holds output back while a line is typed", async () => {
    const { pty, finish } = await started()
    pty.type("Look")
    await pty.waitFor("Look")
    finish()
    await pty.waitFor("The run has ended.")
    expect(await pty.ended).toBe(0)
    expect(pty.shown.indexOf("and there it is")).toBeGreaterThan(pty.shown.indexOf("The run has ended."))
  })

  it("continues with Escape, and may be pressed again", async () => {
    const { pty } = await started()
    pty.type("\u001b")
    await pty.waitFor("Continuing.")
    pty.type("\u0003")
    await pty.waitFor("> ")
    pty.type("\r")
    await pty.waitFor("stopped, can be resumed")
    expect(await pty.ended).toBe(1)
  })

  it("stops when it is pressed twice", async () => {
    const { pty } = await started()
    pty.type("\u0003")
    await pty.waitFor("stopped, can be resumed")
    expect(await pty.ended).toBe(1)
    expect(pty.shown.match(/the turn still runs/g)).toHaveLength(1)
  })

  it("leaves a usable terminal: a later Ctrl-C in the same process is one interrupt", async () => {
    const { pty, finish } = await started()
    pty.type("c\r")
    await pty.waitFor("Continuing.")
    finish()
    await pty.waitFor("outcome  finished")
    expect(await pty.ended).toBe(0)
    await until(() => pty.shown.endsWith("\n"))
  })
})
