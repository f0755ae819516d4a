import { chatProjector, userMessage } from "turn-machine"
import { chatDriver } from "turn-machine/drivers"
import { approvalDriver } from "turn-machine/drivers/approval"
import { defineTool, type Host, type JournalStore, memoryAttachmentStore, mergeToolboxes, syncTools, toolbox } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { mcpToolbox } from "turn-machine/hosts/mcp"
import * as z from "zod"
import { server } from "./servers.ts"

const SYSTEM = "You keep notes in a folder."

const today = defineTool({ name: "today", description: "The date.", input: z.object({}), execute: () => new Date().toISOString().slice(0, 10) })

/** Starts the servers. Returns the config of the assistant's turns, and how one runs or continues. */
export async function assistant(llmCall: Host["llmCall"], store: JournalStore, folder: string) {
  const attachments = memoryAttachmentStore()
  const files = await mcpToolbox(server("@modelcontextprotocol/server-filesystem", folder), { prefix: "files", attachments })
  const demo = await mcpToolbox(server("@modelcontextprotocol/server-everything", "stdio"), {
    prefix: "demo",
    attachments,
    allow: ["echo", "get-sum", "get-tiny-image"],
    // This server is known, so that its hints need not decide.
    approval: (call) => (call.toolName === "demo__get-sum" ? false : {}),
    effects: "none",
  })
  const tools = mergeToolboxes([toolbox([today]), files, demo])
  const config = {
    driver: approvalDriver(chatDriver(), { policy: tools.approvals }),
    projector: chatProjector,
    model: "scripted",
    systemPrompt: SYSTEM,
    tools: tools.specs,
    syncExecutionSurface: true,
  }
  const turns = journaled({ llmCall, tools, syncExecutionSurface: syncTools(tools, SYSTEM) }, store)
  return {
    config,
    tools,
    /** Runs a turn until it ends, or waits for a decision. A turn that was begun continues. */
    run: (name: string, text: string) => turns.run(name, { config, start: { messages: [userMessage(text)] } }, { suspend: true }),
    /** Ends the servers. */
    async close(): Promise<void> {
      await Promise.all([files.close(), demo.close()])
    },
  }
}
