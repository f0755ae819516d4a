#!/usr/bin/env node
import { cli } from "./cli.ts"
import type { Io } from "./terminal/io.ts"
import { Keyboard } from "./terminal/keyboard.ts"

const SIGNALS = ["SIGINT", "SIGTERM"] as const

/** The current folder, which may have been removed. */
function currentFolder(): string {
  try {
    return process.cwd()
  } catch {
    process.stderr.write("turn-machine: The current folder no longer exists. Change to another folder, and try again.\n")
    process.exit(2)
  }
}

/** Reports a Ctrl-C that arrives while a key or a line is read. Listeners are called before the read ends. */
function interruptedByKey(): void {
  if (!process.emit("SIGINT", "SIGINT")) process.kill(process.pid, "SIGINT")
}

const keyboard = process.stdin.isTTY && process.stderr.isTTY ? new Keyboard(process.stdin, process.stderr, interruptedByKey) : undefined

const io: Io = {
  stdout: process.stdout,
  stderr: process.stderr,
  readInput: async () => {
    let text = ""
    for await (const chunk of process.stdin.setEncoding("utf8")) text += chunk
    return text
  },
  ...(keyboard !== undefined && { terminal: keyboard }),
  env: process.env,
  cwd: currentFolder(),
  onInterrupt(listener) {
    const interrupt = (signal: NodeJS.Signals): void => {
      // Ctrl-C in an editor is for the editor.
      if (signal !== "SIGINT" || keyboard?.isLent !== true) listener(signal === "SIGTERM")
    }
    for (const signal of SIGNALS) process.on(signal, interrupt)
    return () => {
      for (const signal of SIGNALS) process.off(signal, interrupt)
    }
  },
  exit: (exitCode) => process.exit(exitCode),
}

for (const stream of [process.stdout, process.stderr]) {
  // The reader of the output exited (`| head`), so an error message would reach no one.
  stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 1 : 2))
}

const exitCode = await cli(process.argv.slice(2), io)
// Pending work, such as a model call, must not keep the process alive; written output must be flushed.
process.stdout.write("", () => process.stderr.write("", () => process.exit(exitCode)))
