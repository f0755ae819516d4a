import type { Database } from "libsql"
import { chatDriver, chatProjector } from "turn-machine"
import { costOf, type Host, pricesOf } from "turn-machine/hosts"
import type { ThreadOptions } from "turn-machine/hosts/thread"
import type { UiStreamOptions } from "turn-machine/projectors/ui-stream"
import type { ChatModel } from "./models.ts"
import { noteTools } from "./notes.ts"

/** An agent for chats: how their turns are configured, the host that runs them, and how a page shows them. */
export interface Agent {
  readonly model: string
  readonly options: ThreadOptions
  readonly host: Host
  readonly ui: UiStreamOptions
}

const SYSTEM_PROMPT = `You are a helpful assistant in a small chat page. You can keep notes for the user with your tools.
The user is asked before a note is saved or deleted; if they refuse, accept it and do not ask again. Answer briefly, in Markdown.`

export function noteAgent(database: Database, { name, llmCall }: ChatModel, toolMs: number): Agent {
  const tools = noteTools(database, toolMs)
  const prices = pricesOf(name)
  return {
    model: name,
    options: {
      config: { driver: chatDriver(), projector: chatProjector, model: name, systemPrompt: SYSTEM_PROMPT, tools: tools.specs, maxIterations: 20 },
      // The thread holds the calls for which a tool wants approval.
      approvals: tools.approvals,
      // A conversation: the model is offered no tools for goals, and no turn begins without an input.
      goals: false,
      // A turn that another model began is continued with this one.
      resume: { reconfigure: true },
    },
    host: { llmCall, tools },
    ui: prices === undefined ? {} : { cost: (usage) => costOf(usage, prices) },
  }
}
