// Answers each line of the standard input with a line: the program runs in a worker thread.
import process from "node:process"
import { createInterface } from "node:readline"
import { isMainThread, parentPort, Worker } from "node:worker_threads"

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url))
  worker.on("message", (text) => process.stdout.write(`${text}\n`))
  for await (const line of createInterface({ input: process.stdin })) worker.postMessage(line)
  await worker.terminate()
} else {
  const { call } = await import("./program.js")
  parentPort.on("message", async (text) => parentPort.postMessage(await call(text)))
}
