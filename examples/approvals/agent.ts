import { chatDriver, chatProjector, type TurnConfig, userMessage } from "turn-machine"
import { approvalDriver } from "turn-machine/drivers/approval"
import { defineTool, type Host, type JournalStore, ToolError, toolbox } from "turn-machine/hosts"
import { type JournaledHost, type JournaledTurn, journaled } from "turn-machine/hosts/journal"
import { fileJournalStore } from "turn-machine/hosts/node"
import { scriptedModel } from "turn-machine/testing"
import * as z from "zod"
import { fileLedger, type Ledger } from "./ledger.ts"

/** The name of the turn's journal, and its id. */
export const TURN_ID = "invoices-of-may"

/** Everything that the processes share: they meet only in the files of this folder. */
export interface Place {
  readonly store: JournalStore
  readonly ledger: Ledger
  /** The open requests as a client has them. */
  readonly inbox: string
}

/** `PAYMENTS_FOLDER`: where the files are. Default: `data`. */
export function placeOf(folder: string = process.env["PAYMENTS_FOLDER"] ?? "data"): Place {
  return { store: fileJournalStore(`${folder}/turns`), ledger: fileLedger(`${folder}/ledger.jsonl`), inbox: `${folder}/inbox.json` }
}

/** The agent: a turn that pays invoices, and the host that runs it. */
export interface Agent {
  readonly config: TurnConfig
  readonly host: JournaledHost
  readonly turn: JournaledTurn
}

export function paymentAgent({ store, ledger }: Place): Agent {
  const pay = defineTool({
    name: "pay",
    description: "Pays an invoice from the company's account.",
    input: z.object({ to: z.string(), euros: z.number().positive() }),
    approval: "always",
    effects: "once",
    execute({ to, euros }, { idempotencyKey = "" }) {
      if (euros > 10_000) throw new ToolError({ class: "permission_denied", code: "over_limit", message: "The bank's limit is 10000 euros." })
      ledger.pay({ key: idempotencyKey, to, euros })
      return { paid: euros, to }
    },
    // After a crash, the ledger knows whether the payment was made.
    recover(_input, { idempotencyKey = "" }) {
      const payment = ledger.find(idempotencyKey)
      return payment === undefined ? { ran: false } : { ran: true, value: { paid: payment.euros, to: payment.to } }
    },
  })
  const tools = toolbox([pay])
  const config: TurnConfig = {
    driver: approvalDriver(chatDriver(), { policy: tools.approvals }),
    projector: chatProjector,
    model: "scripted",
    systemPrompt: "You pay invoices.",
    tools: tools.specs,
  }
  const { llmCall } = scriptedModel([
    {
      text: "Three invoices are open.",
      toolCalls: [
        { callId: "ann", toolName: "pay", args: { to: "Ann", euros: 120 } },
        { callId: "bob", toolName: "pay", args: { to: "Bob", euros: 75 } },
        { callId: "carol", toolName: "pay", args: { to: "Carol", euros: 40 } },
      ],
    },
    "I paid what you approved.",
  ])
  const host: Host = { llmCall, tools }
  return {
    config,
    // Another process may have the journal open for a short time, for example to record a decision.
    host: journaled(host, store, { waitMs: 10_000 }),
    turn: { config, start: { messages: [userMessage("Pay the invoices of May.", { id: "user-1" })] }, turnId: TURN_ID },
  }
}
