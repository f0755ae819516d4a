/**
 * Reads one journal in a process of its own: node journal-fresh.js parse|resume FILE. Prints the CPU time of it in milliseconds, all threads
 * counted, after the import.
 */
import { readFileSync } from "node:fs"
import { parseLines, resumeText } from "./journal-texts.ts"

const [, , contender, file = ""] = process.argv
const text = readFileSync(file, "utf8")
const before = process.cpuUsage()
if (contender === "parse") parseLines(text)
else resumeText(text)
const { user, system } = process.cpuUsage(before)
console.log((user + system) / 1000)
