// Answers each line of the standard input with a line: how Node, Deno and Bun run the program.
import process from "node:process"
import { createInterface } from "node:readline"
import { call } from "./program.js"

for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${await call(line)}\n`)
