import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { heldLines } from "../../src/cli/approvals/held-lines.ts"
import { ApprovalPrompt } from "../../src/cli/approvals/prompt.ts"
import { columnsOf } from "../../src/cli/terminal/columns.ts"
import { inert, inertJson } from "../../src/cli/terminal/inert.ts"
import type { Json } from "../../src/json.ts"
import type { Ask, HeldCall } from "../../src/wire/approval.ts"
import { newColours, textOf } from "./colours.ts"
import { bundleCli, type Ran, runCli, serve, TestTerminal, until } from "./harness.ts"
import { hasPty, Pty } from "./pty.ts"

const bundled = await bundleCli()
const TASK = 'Replace "colour" with "color".'

function heldCall(args: Json, ask: Partial<Ask> = {}): HeldCall {
  return {
    callId: "call_1",
    toolName: "replace_line",
    args,
    requestId: "3:call_1",
    index: 0,
    digest: "d1",
    ask: { allow: ["approve", "edit", "reject"], scopes: ["call", "turn", "thread"], ...ask },
  }
}

const plain = (_style: unknown, text: string): string => text
const OPEN = new AbortController().signal

describe("a person at a terminal", () => {
  /** Runs the task with a person who gives these answers. */
  async function answered(
    answers: readonly (string | undefined)[],
    ...more: readonly string[]
  ): Promise<{ ran: Ran; base: string; terminal: TestTerminal }> {
    const base = newColours()
    const terminal = new TestTerminal(answers)
    const ran = await runCli(["run", "--dir", "shop", "--edit", ...more, TASK], { cwd: base, terminal, isTTY: true, env: { NO_COLOR: "1" } })
    return { ran, base, terminal }
  }

  it("approves, rejects with a reason and approves the rest, one call at a time", async () => {
    const { ran, base, terminal } = await answered(["y", "n", "Not this one.", "Y\r"])
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" })
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the color of x\nb\ncolour again\n", "color\r\nkeep\r\n"])
    expect(ran.stdout).toContain("The user says: Not this one.")
    for (const title of ["── approval 1 of 3 ─", "── approval 2 of 3 ─", "── approval 3 of 3 ─"]) expect(terminal.shown).toContain(title)
    expect(terminal.shown).toContain("Reason for the model (may be empty): ")
  })

  it("approves all calls of the tool with a", async () => {
    const { ran, base, terminal } = await answered(["a"])
    expect(ran.exitCode).toBe(0)
    expect(textOf(base, "a.txt")).toBe("the color of x\nb\ncolor again\n")
    expect(terminal.shown.match(/── approval/g)).toHaveLength(1)
  })

  it("edits the arguments on a line; broken JSON is explained and asked for again", async () => {
    const args = { path: "a.txt", line: 1, oldText: "the colour of x", newText: "the hue of x" }
    const { base, terminal } = await answered(["e", '{"path":', "[]", JSON.stringify(args), "n", "", "n", ""])
    expect(textOf(base, "a.txt")).toBe("the hue of x\nb\ncolour again\n")
    expect(terminal.shown).toContain("This is not JSON: ")
    expect(terminal.shown).toContain("The arguments of a call are a JSON object: { … }.")
    expect(terminal.shown).toContain("The call runs with the edited arguments.\n")
  })

  it("edits the arguments in an editor; unchanged arguments are an approval", async () => {
    const base = newColours()
    const terminal = new TestTerminal(["e", "e", "e", "e", "n", ""])
    terminal.edits.push(
      (text) => text,
      () => "{ broken",
      (text) => {
        expect(text).toBe("{ broken")
        return '{ "path": "a.txt", "line": 3, "oldText": "colour again", "newText": "tint again" }'
      },
      () => undefined,
    )
    const ran = await runCli(["run", "--dir", "shop", "--edit", TASK], {
      cwd: base,
      terminal,
      isTTY: true,
      env: { NO_COLOR: "1", VISUAL: "my-editor --wait" },
    })
    expect(ran.exitCode).toBe(0)
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the color of x\nb\ntint again\n", "colour\r\nkeep\r\n"])
    expect(terminal.shown).toContain("Nothing was changed: approved.\n")
    expect(terminal.shown).toContain("The editor ended with exit code 1. Nothing is changed.\n")
  })

  it.each([["s"], [undefined]])("decides later with %s, and the run continues with that later", async (key) => {
    const { ran, base } = await answered(["y", key], "--state", "s.json")
    expect(ran.exitCode).toBe(3)
    expect(ran.stdout).toContain("outcome  waits for 2 decisions\n")
    expect(textOf(base, "a.txt")).toBe("the color of x\nb\ncolour again\n")
    const resumed = await runCli(["resume", "s.json"], { cwd: base, terminal: new TestTerminal(["y", "y"]) })
    expect(resumed.exitCode).toBe(0)
    expect(textOf(base, "a.txt")).toBe("the color of x\nb\ncolor again\n")
  })

  it("cannot decide later without a state file", async () => {
    const { ran, terminal } = await answered(["s", "n", "", "n", "", "n", ""])
    expect(ran.exitCode).toBe(0)
    expect(terminal.shown).toContain("To decide later, start the run with a state file: --state FILE.\n")
  })

  it("sees the keys explained, and is not asked again by a key that means nothing", async () => {
    const { base, terminal } = await answered(["?", "x", "yes please\n", "\u001b[A", "n", "", "n", "", "n", ""])
    expect(terminal.shown).toContain("  n  the call does not run; you may give the model a reason\n")
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
  })

  it("is not asked about what expired, also while the question is shown", async () => {
    const { ran, base, terminal } = await answered([], "--approve-within", "1s")
    expect(ran.exitCode).toBe(0)
    expect(terminal.shown).toContain("Expired: the call does not run.\n")
    expect(ran.stdout).toContain('I replaced "colour" with "color" in 0 lines of 3.')
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
  })

  it("cancels a turn without a state file with Ctrl-C", async () => {
    const base = newColours()
    const terminal = new TestTerminal([])
    let interrupt: () => void = () => {}
    terminal.onKey = () => interrupt()
    const ran = await runCli(["run", "--dir", "shop", "--edit", TASK], {
      cwd: base,
      terminal,
      onOutput: (_stdout, given) => {
        interrupt = given
      },
    })
    expect(ran.exitCode).toBe(1)
    expect(ran.stdout).toContain("stopped: cancelled")
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
  })

  it("reads nothing but the question while it is open", async () => {
    const base = newColours()
    let stdout = ""
    const seen: string[] = []
    const terminal = new TestTerminal(["y", "y", "y"])
    terminal.onKey = async () => {
      const before = stdout
      await new Promise((resolve) => setTimeout(resolve, 60))
      seen.push(stdout.slice(before.length))
    }
    const ran = await runCli(["run", "--dir", "shop", "--edit", TASK], {
      cwd: base,
      terminal,
      isTTY: true,
      onOutput: (text) => {
        stdout = text
      },
    })
    expect(ran.exitCode).toBe(0)
    expect(seen).toEqual(["", "", ""])
  })
})

describe("the question", () => {
  it.each([40, 80, 120])("fits into %i columns, with wide characters", async (columns) => {
    const terminal = new TestTerminal(["v", "?", "n", ""], columns)
    const prompt = new ApprovalPrompt(terminal, { NO_COLOR: "1" }, { always: "thread", by: "ann" })
    const args = {
      path: "日本語の".repeat(20),
      名前: "長い名前",
      text: `${"wide 日本語 ".repeat(40)}\nsecond line`,
      deep: { list: [1, 2, { a: null }] },
    }
    const call = heldCall(args, { summary: `Changes ${"日本語".repeat(40)}.`, risk: "high", expiresAt: Date.now() + 3_600_000 })
    const answer = await prompt.ask(call, { number: 2, total: 3, signal: OPEN })
    expect(answer).toEqual({ type: "decision", decision: { requestId: "3:call_1", digest: "d1", by: "ann", decision: "reject" } })
    expect(terminal.shown.split("\n").filter((line) => columnsOf(line) > columns)).toEqual([])
    expect(terminal.shown).toMatch(/^── approval 2 of 3 ─+$/m)
  })

  it("uses colours only where the terminal has them", async () => {
    const shownWith = async (env: Record<string, string>): Promise<string> => {
      const terminal = new TestTerminal(["y"])
      await new ApprovalPrompt(terminal, env, { always: "turn", by: undefined }).ask(heldCall({ a: 1 }), { number: 1, total: 1, signal: OPEN })
      return terminal.shown
    }
    expect(await shownWith({ TERM: "xterm" })).toContain("\u001b[1m")
    expect(await shownWith({ TERM: "dumb" })).not.toContain("\u001b")
    expect(await shownWith({ TERM: "xterm", NO_COLOR: "1" })).not.toContain("\u001b")
  })

  it("offers only what the call allows", async () => {
    const terminal = new TestTerminal(["y", "a", "e", "n", "no"])
    const prompt = new ApprovalPrompt(terminal, { NO_COLOR: "1" }, { always: "turn", by: undefined })
    const answer = await prompt.ask(heldCall({}, { allow: ["reject"], scopes: ["call"] }), { number: 1, total: 1, signal: OPEN })
    expect(answer).toEqual({ type: "decision", decision: { requestId: "3:call_1", digest: "d1", decision: "reject", message: "no" } })
    expect(terminal.shown).toContain("[n] reject  [v] view all  [s] later  [?] help\n")
    expect(terminal.shown).not.toContain("[y]")
  })

  it("goes away, saying who decided, when the call is decided elsewhere", async () => {
    const terminal = new TestTerminal([])
    const controller = new AbortController()
    terminal.onKey = () => setTimeout(() => controller.abort("Decided by ann: approved."), 5)
    const prompt = new ApprovalPrompt(terminal, { NO_COLOR: "1" }, { always: "turn", by: undefined })
    expect(await prompt.ask(heldCall({}), { number: 1, total: 1, signal: controller.signal })).toEqual({ type: "gone" })
    expect(terminal.shown.endsWith("? Decided by ann: approved.\n") || terminal.shown.endsWith("Decided by ann: approved.\n")).toBe(true)
  })

  it("shows every argument at first, however long one is, and all of it with v", async () => {
    const args = { content: "x\n".repeat(500), path: "/etc/passwd", big: "y".repeat(100_000) }
    const { lines, isCut } = heldLines(heldCall(args), { width: 80, style: plain, now: 0 })
    expect(isCut).toBe(true)
    expect(lines.length).toBeLessThan(25)
    expect(lines).toContainEqual('  path     "/etc/passwd"')
    expect(lines.join("\n")).toMatch(/… \d+ more characters/)
    const all = heldLines(heldCall(args), { width: 80, style: plain, full: true, now: 0 })
    expect(all.isCut).toBe(false)
    expect(all.lines.length).toBeGreaterThan(1_500)
    const terminal = new TestTerminal(["v", "n", ""])
    await new ApprovalPrompt(terminal, {}, { always: "turn", by: undefined }).ask(heldCall(args), { number: 1, total: 1, signal: OPEN })
    expect(terminal.shown).toContain("Cut here. v shows all of it.")
    expect(terminal.shown.length).toBeGreaterThan(100_000)
  })
})

/** Escape sequences, reordering, hidden and invisible characters, half a pair, marks over marks, and a faked line of ours. */
const EVIL =
  "e\u001b[2J\u001b]0;x\u0007\u007f\u009b31m\u202egnp\u2066\u2028\u200b\ufeff\u00ad\u3000\ud800\u{e0041}a\u0301\u0301\u0301\u0301\u0301\u0301\n[y] approve"
const BAD = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|(?! )\p{Zs}|\p{M}{5}|^\[y\] approve$/mu

describe("hostile arguments", () => {
  it("are shown inert, with what they hide", () => {
    const { lines } = heldLines(
      { toolName: EVIL, args: { [EVIL]: EVIL, list: [EVIL] }, ask: { summary: EVIL, allow: ["approve"], scopes: ["call"] } },
      { width: 80, style: plain, full: true, now: 0 },
    )
    expect(lines.join("\n")).not.toMatch(BAD)
    expect(lines.join("\n")).toContain("\\u202e")
    expect(inert("a\u202eb")).toBe("a\\u202eb")
    expect(JSON.parse(inertJson({ [EVIL]: EVIL }))).toEqual({ [EVIL]: EVIL })
  })

  it("reach no terminal through any command", async () => {
    const base = newColours()
    const call = { path: EVIL, line: 1, oldText: "x".repeat(50_000), newText: EVIL.replace("\n", " ") }
    const url = await serve((body, response) => {
      const { messages } = JSON.parse(body) as { messages: readonly { role: string }[] }
      const calls = [
        { id: `id ${EVIL}`, type: "function", function: { name: "replace_line", arguments: JSON.stringify(call) } },
        { id: "broken", type: "function", function: { name: "replace_line", arguments: `{"path": ${EVIL}` } },
      ]
      const message = messages.some(({ role }) => role === "assistant") ? { content: "Done." } : { content: "", tool_calls: calls }
      const usage = { prompt_tokens: 1, completion_tokens: 1 }
      response
        .setHeader("content-type", "application/json")
        .end(JSON.stringify({ choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", ...message } }], usage }))
    })
    const model = ["--base-url", url, "--model", "evil"]
    const ran = async (args: readonly string[], terminal?: TestTerminal): Promise<Ran> => {
      const result = await runCli(args, { cwd: base, isTTY: true, columns: 60, env: { NO_COLOR: "1" }, ...(terminal !== undefined && { terminal }) })
      for (const text of [result.stdout, result.stderr, terminal?.shown ?? ""])
        expect(text, JSON.stringify(args)).not.toMatch(/(?![\n\t])[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u)
      return result
    }
    expect((await ran(["run", "--dir", "shop", "--edit", "--state", "s.json", ...model, "Do it."])).exitCode).toBe(3)
    const listed = await ran(["approvals", "s.json"])
    const [, digest = ""] = /turn-machine decide s\.json ([0-9a-f]{16}) approve/.exec(listed.stdout) ?? []
    expect(listed.stdout).not.toMatch(BAD)
    // A call whose arguments are not JSON can only be fixed or rejected.
    expect(listed.stdout).toContain("turn-machine decide s.json broken edit --args JSON\n  turn-machine decide s.json broken reject\n")
    expect((await ran(["approvals", "s.json", "--json"])).exitCode).toBe(0)
    expect((await ran(["decide", "s.json", "broken", "approve"])).exitCode).toBe(1)
    expect((await ran(["decide", "s.json", digest, "reject", "--message", EVIL, "--by", EVIL, "--note", EVIL])).exitCode).toBe(0)
    await ran(["decide", "s.json", digest, "approve"])
    await ran(["decide", "s.json", EVIL, EVIL])
    await ran(["decide", "s.json", EVIL, "approve"])
    await ran(["journal", "show", "s.json"])
    expect((await ran(["resume", "s.json"], new TestTerminal(["v", "n", EVIL]))).exitCode).toBe(0)
    await ran(["journal", "show", "s.json"])
  })
})

describe.skipIf(!hasPty)("in a real terminal", () => {
  const KEYS = "[?] help"
  const start = (base: string, more: readonly string[] = [], env: Record<string, string> = {}, columns = 100): Pty =>
    new Pty(bundled, ["run", "--dir", "shop", "--edit", "--state", "s.json", ...more, TASK], {
      cwd: base,
      env: { EDITOR: "", VISUAL: "", ...env },
      columns,
    })

  it("y approves, n asks for a reason, and the line that was typed is not shown as an answer", async () => {
    const base = newColours()
    const pty = start(base)
    await pty.waitFor(KEYS)
    pty.type("y")
    await pty.waitFor("approval 2 of 3")
    await pty.waitFor(KEYS)
    pty.type("n")
    await pty.waitFor("Reason for the model (may be empty): ")
    pty.type("Höchst unnötig日x\u007f.\r")
    await pty.waitFor("approval 3 of 3")
    await pty.waitFor(KEYS)
    pty.type("y\r")
    expect(await pty.ended).toBe(0)
    expect([textOf(base, "a.txt"), textOf(base, "b.txt")]).toEqual(["the color of x\nb\ncolour again\n", "color\r\nkeep\r\n"])
    expect(readFileSync(join(base, "s.json"), "utf8")).toContain('"message":"Höchst unnötig日."')
  })

  it("keys that were typed before the question decide nothing", async () => {
    const base = newColours()
    const pty = start(base)
    pty.type("y")
    await pty.waitFor(KEYS)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(pty.shown).not.toContain("approved")
    pty.type("s")
    expect(await pty.ended).toBe(3)
    expect(textOf(base, "a.txt")).toBe("the colour of x\nb\ncolour again\n")
  })

  it("e edits in $EDITOR, also when its first text is broken", async () => {
    const base = newColours()
    const editor = join(base, "editor.sh")
    // The first time it breaks the JSON, the second time it writes other arguments.
    writeFileSync(
      editor,
      `#!/bin/sh\nif [ -e '${base}/once' ]; then printf '{"path":"a.txt","line":1,"oldText":"the colour of x","newText":"edited"}' > "$2"; else touch '${base}/once'; echo '{' > "$2"; fi\n`,
      { mode: 0o755 },
    )
    const pty = start(base, [], { EDITOR: `${editor} --wait` })
    await pty.waitFor(KEYS)
    pty.type("e")
    // One word: where the line breaks depends on the words of the JSON parser.
    await pty.waitFor("again,")
    pty.type("e")
    await pty.waitFor("The call runs with the edited arguments.")
    await pty.waitFor(KEYS)
    pty.type("\u0004")
    expect(await pty.ended).toBe(3)
    expect(textOf(base, "a.txt")).toBe("edited\nb\ncolour again\n")
  })

  it("Ctrl-C in an editor is for the editor", async () => {
    const base = newColours()
    const editor = join(base, "editor.sh")
    writeFileSync(
      editor,
      `#!/bin/sh\ntrap 'touch ${base}/interrupted' INT\ntouch '${base}/started'\nwhile [ ! -e '${base}/interrupted' ]; do sleep 0.05; done\nprintf '{"path":"a.txt","line":1,"oldText":"the colour of x","newText":"edited"}' > "$1"\n`,
      { mode: 0o755 },
    )
    const pty = start(base, [], { EDITOR: editor })
    await pty.waitFor(KEYS)
    pty.type("e")
    await until(() => existsSync(join(base, "started")))
    // The shell that is the editor now sleeps between two looks at a file.
    await new Promise((resolve) => setTimeout(resolve, 300))
    pty.type("\u0003")
    await pty.waitFor("The call runs with the edited arguments.")
    await pty.waitFor(KEYS)
    pty.type("s")
    expect(await pty.ended).toBe(3)
    expect(textOf(base, "a.txt")).toBe("edited\nb\ncolour again\n")
  })

  it("e edits on a line where no editor is set, and Ctrl-D goes back", async () => {
    const base = newColours()
    const pty = start(base)
    await pty.waitFor(KEYS)
    pty.type("e")
    await pty.waitFor("> ")
    pty.type("\u0004")
    await pty.waitFor(KEYS)
    pty.type("e")
    await pty.waitFor("> ")
    pty.type(`\u0015{"path":"a.txt","line":1,"oldText":"the colour of x","newText":"inline"}\r`)
    await pty.waitFor("approval 2 of 3")
    await pty.waitFor(KEYS)
    pty.type("s")
    expect(await pty.ended).toBe(3)
    expect(textOf(base, "a.txt")).toBe("inline\nb\ncolour again\n")
  })

  it("Ctrl-C stops the run, which can be resumed, and the terminal is as before", async () => {
    const base = newColours()
    const pty = start(base)
    await pty.waitFor(KEYS)
    pty.type("\u0003")
    expect(await pty.ended).toBe(1)
    expect(pty.shown).toContain("stopped, can be resumed")
    expect(await runCli(["decide", "s.json", "call_2", "approve"], { cwd: base })).toMatchObject({ exitCode: 0 })
  })

  it("a run that a person is asked about is in use: decide says by which process", async () => {
    const base = newColours()
    const pty = start(base)
    await pty.waitFor(KEYS)
    const refused = await runCli(["decide", "s.json", "call_2", "approve"], { cwd: base })
    expect(refused.exitCode).toBe(2)
    expect(refused.stderr).toMatch(
      /^turn-machine: s\.json is in use by process \d+\. Decide in its terminal, or stop it with Ctrl-C and decide then\.\n$/,
    )
    pty.type("s")
    expect(await pty.ended).toBe(3)
  })

  it.each([40, 120])("fits into %i columns", async (columns) => {
    const base = newColours()
    const pty = start(base, [], { NO_COLOR: "1" }, columns)
    await pty.waitFor(KEYS)
    const shown = pty.shown.slice(pty.shown.indexOf("── approval"))
    expect(shown.split(/\r?\n/).filter((line) => columnsOf(line) > columns)).toEqual([])
    pty.type("s")
    expect(await pty.ended).toBe(3)
  })
})
