/**
 * Runs a strict server as a process of its own, for tests that kill their clients or block their own process:
 *
 *     node --import tsx strict-server-process.ts SCRIPT.ts ['{"rules":["user_before_calls"]}']
 *
 * SCRIPT exports its script as `default`. The process prints the base URL; a GET of it returns `{ requests, bill }`.
 */
import { pathToFileURL } from "node:url"
import { type Script, type StrictServerOptions, startStrictServer } from "./strict-server.ts"

const [path = "", options = "{}"] = process.argv.slice(2)
const { default: script } = (await import(pathToFileURL(path).href)) as { readonly default: Script }
const server = await startStrictServer(script, JSON.parse(options) as StrictServerOptions)
process.stdout.write(`${server.url}\n`)
process.once("disconnect", () => process.exit())
