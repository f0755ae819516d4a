import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { configureGlobal } from "fast-check"
import { afterAll, vi } from "vitest"

/** Fixed, so that a commit which passed on one machine passes on the next. `test:deep` draws a new one for every property. */
const SEED = process.env["FC_SEED"] ?? (process.env["TEST_LANE"] === "deep" ? undefined : "20261126")

if (SEED !== undefined) configureGlobal({ seed: Number(SEED) })

// The command line records the runs that its user started. Those of the tests must not be among them.
const records = mkdtempSync(join(tmpdir(), "turn-machine-records-"))
process.env["XDG_STATE_HOME"] = records
afterAll(() => rmSync(records, { recursive: true, force: true }))

// The files of the fast lane share a thread. A loop that a file leaves running would take the time of all files after it, and run under their
// fake timers. A thread with nothing to do waits, however busy the machine is.
afterAll(async () => {
  vi.useRealTimers()
  for (let look = 0; look < LOOKS; look += 1) {
    const before = performance.eventLoopUtilization()
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    if (performance.eventLoopUtilization(before).utilization < 0.9) return
  }
  throw new Error("The tests of this file left something that runs without end, such as a loop over setImmediate. End it with its test.")
})

const LOOK_MS = 20
const LOOKS = 50
