import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { configureGlobal } from "fast-check"
import { afterAll } from "vitest"

/** Fixed, so that a commit which passed on one machine passes on the next. `test:deep` draws a new one for every property. */
const SEED = process.env["FC_SEED"] ?? (process.env["TEST_LANE"] === "deep" ? undefined : "20261126")

if (SEED !== undefined) configureGlobal({ seed: Number(SEED) })

// The command line records the runs that its user started. Those of the tests must not be among them.
const records = mkdtempSync(join(tmpdir(), "turn-machine-records-"))
process.env["XDG_STATE_HOME"] = records
afterAll(() => rmSync(records, { recursive: true, force: true }))
