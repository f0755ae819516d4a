import { AIMessage, type BaseMessage, HumanMessage, ToolMessage } from "@langchain/core/messages"
import { END, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph"
import { ANSWER, argumentsOf, type Contender, type Crash, QUESTION, type Saved, TOOL, type Work } from "../script.ts"

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

/** All that the saver holds: a checkpoint after each step of the graph. */
export const withMemorySaverSaved = async (work: Work): Promise<() => Saved> => {
  const saver = new MemorySaver()
  await graph(work)
    .compile({ checkpointer: saver })
    .invoke(input(), { recursionLimit: 2 * work.steps + 5, configurable: { thread_id: "bench" } })
  const text = (): string =>
    JSON.stringify([saver.storage, saver.writes], (_key, value) => (value instanceof Uint8Array ? Buffer.from(value).toString() : value))
  return () => ({ text: text(), restore: () => undefined })
}

/** Each tool is a node of its own, so that the saver knows of each: LangGraph's way to run tools in parallel and save them apart. */
export const withMemorySaverCrash: Crash = async () => {
  const ran: string[] = []
  const saver = new MemorySaver()
  let isKilled = true
  const build = () => {
    const tool = (name: string) => async () => {
      if (name === "c") await new Promise((resolve) => setTimeout(resolve, 50))
      if (name === "c" && isKilled) throw new Error("Killed.")
      ran.push(name)
      return { messages: [new ToolMessage({ content: name, tool_call_id: `call_${name}` })] }
    }
    return new StateGraph(MessagesAnnotation)
      .addNode("model", async () => ({
        messages: [new AIMessage({ content: "", tool_calls: ["a", "b", "c"].map((name) => ({ id: `call_${name}`, name, args: {} })) })],
      }))
      .addNode("a", tool("a"))
      .addNode("b", tool("b"))
      .addNode("c", tool("c"))
      .addEdge(START, "model")
      .addEdge("model", "a")
      .addEdge("model", "b")
      .addEdge("model", "c")
      .addEdge("a", END)
      .addEdge("b", END)
      .addEdge("c", END)
      .compile({ checkpointer: saver })
  }
  const config = { configurable: { thread_id: "crash" } }
  await build()
    .invoke(input(), config)
    .then(
      () => Promise.reject(new Error("It was not killed.")),
      () => undefined,
    )
  isKilled = false
  await build().invoke(null, config)
  return ran
}
