import * as z from "zod"
import type { Json } from "../../json.ts"
import { oneLine } from "../terminal/format.ts"

/** Where a command works, and with which model. */
export const workFields = {
  /** Real path of the folder that is read. */
  dir: z.string(),
  /** Absolute path of the folder that is written to. */
  out: z.string(),
  model: z.string(),
  baseUrl: z.string().exactOptional(),
  apiKeyEnv: z.string().exactOptional(),
  /** Of each turn. */
  maxIterations: z.int().positive(),
}

/** What a run was asked, as it stands in the header of its journal. Of a key, only the name of its variable is in it. */
export const RunMeta = z.strictObject({
  format: z.literal("turn-machine/run"),
  // 1 was a file of its own, which held a checkpoint.
  version: z.literal(2),
  task: z.string(),
  ...workFields,
})
export type RunMeta = Readonly<z.infer<typeof RunMeta>>

/** What a header's `meta` says about a run, or why it says nothing, in words that can follow "…, because". */
export function readRunMeta(meta: Json | undefined): RunMeta | string {
  const { format, version } = (typeof meta === "object" && meta !== null ? meta : {}) as { readonly format?: Json; readonly version?: Json }
  if (format !== "turn-machine/run") return "another program wrote it"
  if (version !== 2) return `its run has version ${oneLine(JSON.stringify(version) ?? "none")}, and this program reads version 2`
  const result = RunMeta.safeParse(meta)
  if (result.success) return result.data
  const [issue] = result.error.issues
  if (issue?.code === "unrecognized_keys") return `its run holds "${oneLine(issue.keys[0] ?? "")}", which this program does not know`
  return `at "${issue?.path.join("/") ?? ""}" its run does not hold what it should`
}
