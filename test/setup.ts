import { configureGlobal } from "fast-check"

/** Fixed, so that a commit which passed on one machine passes on the next. `test:deep` draws a new one for every property. */
const SEED = process.env["FC_SEED"] ?? (process.env["TEST_LANE"] === "deep" ? undefined : "20261126")

if (SEED !== undefined) configureGlobal({ seed: Number(SEED) })
