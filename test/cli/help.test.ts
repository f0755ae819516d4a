import { describe, expect, test } from "vitest"
import { columnsOf } from "../../src/cli/terminal/columns.ts"
import { printHelp } from "../../src/cli/terminal/help.ts"
import { runCli } from "./harness.ts"

const GOALS = ["status", "watch", "say", "queue", "retract", "pause", "resume", "edit", "clear"].map((name) => ["goal", name])
const JOURNALS = ["show", "view", "replay", "diff", "fork", "compact"].map((name) => ["journal", name])
const OTHERS = ["run", "resume", "goal", "subgoal", "approvals", "decide", "answer", "journal"].map((name) => [name])
const COMMANDS = [[], ...OTHERS, ...GOALS, ...JOURNALS, ["subgoal", "add"]].map((command) => ({
  command: command.join(" "),
  args: [...command, "--help"],
}))

const words = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word !== "")

describe.each(COMMANDS)("the help of $command", ({ args }) => {
  const help = async (isTTY: boolean, columns: number): Promise<string> => (await runCli(args, { cwd: "/", isTTY, columns })).stdout

  test.each([40, 60, 80, 119])("has its words in lines of %i columns", async (columns) => {
    const written = await help(false, columns)
    const shown = await help(true, columns)
    expect(words(shown)).toEqual(words(written))
    // The terminal wraps a command, so that it can be copied.
    const wide = shown.split("\n").filter((line) => columnsOf(line) > columns && !/^ +turn-machine /.test(line))
    expect(wide.filter((line) => words(line).length > 1)).toEqual([])
  })

  test("is as it was written on a wide terminal", async () => {
    expect(await help(true, 120)).toBe(await help(false, 120))
  })
})

test("a description is beside its flag, and below it on a narrow terminal", () => {
  const text = `Says how.

Flags
  --state FILE      record each step
                    in this file
  --a-flag-with-a-long-name VALUE
                    what it does
  Two lines of
  a paragraph.

Examples
  turn-machine run --state file-with-a-long-name.json
`
  const shown = (columns: number): string => {
    let written = ""
    printHelp(text, { stdout: { isTTY: true, columns, write: (piece) => (written += piece) } })
    return written
  }
  expect(shown(72)).toBe(`Says how.

Flags
  --state FILE      record each step in this file
  --a-flag-with-a-long-name VALUE
                    what it does
  Two lines of a paragraph.

Examples
  turn-machine run --state file-with-a-long-name.json
`)
  expect(shown(24)).toBe(`Says how.

Flags
  --state FILE
      record each step
      in this file
  --a-flag-with-a-long-name
      VALUE
      what it does
  Two lines of a
  paragraph.

Examples
  turn-machine run --state file-with-a-long-name.json
`)
})
