import { History } from "../../src/machine/history.ts"
import { createChatProjector } from "../../src/projectors/chat.ts"
import type { CompleteTurnConfigData } from "../../src/schemas/config.ts"
import type { LlmRequest } from "../../src/schemas/llm.ts"
import type { HistoryRecord, Message, TurnCause } from "../../src/schemas/message.ts"
import { expectSame, runSuite, type Scenario, withoutOurFields } from "./suite.ts"

interface ProjectorScenario extends Scenario {
  readonly input: {
    readonly messages: readonly Message[]
    readonly turnCauses: readonly TurnCause[]
    readonly events?: readonly HistoryRecord[]
    readonly config: CompleteTurnConfigData
    readonly useTools: boolean
    readonly iteration: number
  }
  readonly request: LlmRequest
}

/** The way of the reference: all causes in one block at the end. */
const chatProjector = createChatProjector({ turnCauses: "tail" })

runSuite<ProjectorScenario>("projector", ({ input, request }) => {
  const { config, turnCauses, useTools, iteration } = input
  const { systemPrompt, tools } = config
  const events = History.of(input.events ?? [])
  const startLength = input.messages.length
  const project = (messages: History<Message>): LlmRequest =>
    chatProjector({ config, systemPrompt, tools, messages, events, turnCauses, iteration, startLength, useTools })

  expectSame(withoutOurFields(project(History.of(input.messages))), request, "request")

  // The same transcript grown message by message: each step renders only the new messages, and the result must be the same.
  let grown = History.of<Message>([])
  for (const message of input.messages) {
    grown = grown.append([message])
    project(grown)
  }
  expectSame(withoutOurFields(project(grown)), request, "request of a transcript that grew")
})
