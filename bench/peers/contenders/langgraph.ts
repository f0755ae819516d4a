import { AIMessage, type BaseMessage, HumanMessage, ToolMessage } from "@langchain/core/messages"
import { END, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph"
import { ANSWER, argumentsOf, type Contender, QUESTION, TOOL, type Work } from "../script.ts"

// The agent as a graph of two nodes, as LangGraph's own introduction builds it.

function graph(work: Work) {
  return new StateGraph(MessagesAnnotation)
    .addNode("model", async () => {
      const step = work.nextStep()
      const message =
        step === undefined
          ? new AIMessage(ANSWER)
          : new AIMessage({ content: "", tool_calls: [{ id: `call_${step}`, name: TOOL.name, args: { ...argumentsOf(step) } }] })
      return { messages: [message] }
    })
    .addNode("tools", async ({ messages }) => {
      const [call] = (messages.at(-1) as AIMessage).tool_calls ?? []
      return { messages: [new ToolMessage({ content: work.result(call?.args["path"]), tool_call_id: call?.id ?? "" })] }
    })
    .addEdge(START, "model")
    .addConditionalEdges("model", ({ messages }: { messages: BaseMessage[] }) => ((messages.at(-1) as AIMessage).tool_calls?.length ? "tools" : END))
    .addEdge("tools", "model")
}

const input = () => ({ messages: [new HumanMessage(QUESTION)] })

export const plain: Contender = (work) =>
  graph(work)
    .compile()
    .invoke(input(), { recursionLimit: 2 * work.steps + 5 })

export const withMemorySaver: Contender = (work) =>
  graph(work)
    .compile({ checkpointer: new MemorySaver() })
    .invoke(input(), { recursionLimit: 2 * work.steps + 5, configurable: { thread_id: "bench" } })
