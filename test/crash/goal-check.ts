/**
 * A check of a goal: appends a line `check TURN passed` or `check TURN failed` to the file of events, and passes from a turn on:
 *
 *     node goal-check.mjs EVENTS FROM_TURN
 *
 * With a folder instead of a turn, it passes when the folder has an overview.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

const [events = "", from = ""] = process.argv.slice(2)
const turns = readFileSync(events, { encoding: "utf8", flag: "a+" }).matchAll(/^agent \d+ (\d+) end$/gm)
const turn = Math.max(0, ...[...turns].map(([, number]) => Number(number)))
const out = process.env["TURN_MACHINE_OUT"] ?? ""
const passes = from === "overview" ? existsSync(join(out, "survey", "overview.md")) : turn >= Number(from)
appendFileSync(events, `check ${turn} ${passes ? "passed" : "failed"}\n`)
// Not alike: figures do not count when failures are compared.
if (!passes) console.info(`Not yet: ${"part ".repeat(turn + 1)}is missing.`)
process.exitCode = passes ? 0 : 1
