/** A process that cancels a turn whose tool never ends. */
import * as z from "zod"
import { runTurn } from "../../../src/hosts/run/run-turn.ts"
import { defineTool } from "../../../src/hosts/tools/define-tool.ts"
import { toolbox } from "../../../src/hosts/tools/toolbox.ts"
import { calls, newTurn, script } from "./support.ts"

const controller = new AbortController()
const hang = defineTool({
  name: "hang",
  description: "Never ends.",
  input: z.object({}),
  timeoutMs: 600_000,
  execute: () => {
    setImmediate(() => controller.abort())
    return new Promise<never>(() => {})
  },
})
const tools = toolbox([hang])
const host = { llmCall: script(calls(["c1", "hang"])), tools }
await runTurn(newTurn({ tools: tools.specs }), host, { signal: controller.signal, cancelGraceMs: 20 })
console.log(Date.now())
process.on("exit", () => console.log(Date.now()))
