import { chatDriver, chatProjector, type TurnConfig, userMessage } from "turn-machine"
import { approvalDriver } from "turn-machine/drivers/approval"
import { defineTool, type Host, type JournalStore, toolbox } from "turn-machine/hosts"
import { childTool } from "turn-machine/hosts/child"
import { journaled } from "turn-machine/hosts/journal"
import * as z from "zod"

/** What the mail server received. */
export const sent: string[] = []

const send = defineTool({
  name: "send",
  description: "Sends a mail.",
  input: z.object({ to: z.string(), text: z.string() }),
  effects: "once",
  approval: ({ to }) => ({ summary: `Send a mail to ${to}`, risk: "high" }),
  execute: async ({ to, text }) => {
    sent.push(`${to}: ${text}`)
    return "sent"
  },
})

/** A lead that delegates: `research` reads, `write_mail` sends, and a person is asked before. */
export function team(llmCall: Host["llmCall"], store: JournalStore) {
  const mail = toolbox([send])
  const base = { projector: chatProjector, model: "your-model" } satisfies Partial<TurnConfig>
  const research = childTool({
    name: "research",
    description: "Answers one question.",
    config: { ...base, driver: chatDriver(), systemPrompt: "Answer the question briefly." },
    host: { llmCall },
    budget: { tokens: 20_000, total: 50_000 },
  })
  const writer = childTool({
    name: "write_mail",
    description: "Writes a mail and sends it.",
    config: { ...base, driver: approvalDriver(chatDriver(), { policy: mail.approvals }), tools: mail.specs, systemPrompt: "Send one mail." },
    host: { llmCall, tools: mail },
    budget: { tokens: 20_000 },
  })
  const tools = toolbox([research, writer])
  const config: TurnConfig = { ...base, driver: chatDriver(), tools: tools.specs, systemPrompt: "Delegate, then sum up." }
  return (name: string, task: string) =>
    journaled({ llmCall, tools }, store).run(name, { config, start: { messages: [userMessage(task)] } }, { suspend: true })
}
