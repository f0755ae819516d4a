#!/usr/bin/env node
import { cli } from "./cli.ts"
import type { Io } from "./terminal/io.ts"

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

const io: Io = {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: currentFolder(),
  onInterrupt(listener) {
    for (const signal of SIGNALS) process.on(signal, listener)
    return () => {
      for (const signal of SIGNALS) process.off(signal, listener)
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
