import { AIMessage, type BaseMessage, HumanMessage, ToolMessage } from "@langchain/core/messages"
import { END, MemorySaver, MessagesDeltaValue, MessagesValue, START, StateGraph, StateSchema } from "@langchain/langgraph"
import { ANSWER, argumentsOf, type Contender, type Crash, QUESTION, type Saved, TOOL, type Work } from "../script.ts"

// The agent as a graph of two nodes, as LangGraph's own introduction builds it.

/** The default: a checkpoint has all messages. */
const WHOLE = new StateSchema({ messages: MessagesValue })
/** A checkpoint has what a step added, and all messages from time to time. LangGraph calls it experimental. */
const DELTA = new StateSchema({ messages: MessagesDeltaValue })

function graph(work: Work, schema: typeof WHOLE | typeof DELTA = WHOLE) {
  return new StateGraph(schema as typeof WHOLE)
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

export const withMemorySaver: Contender = (work) => savedRun(work, WHOLE, new MemorySaver())

export const withMemorySaverDelta: Contender = (work) => savedRun(work, DELTA, new MemorySaver())

const THREAD = { configurable: { thread_id: "bench" } }

function savedRun(work: Work, schema: typeof WHOLE | typeof DELTA, checkpointer: MemorySaver) {
  return graph(work, schema)
    .compile({ checkpointer })
    .invoke(input(), { recursionLimit: 2 * work.steps + 5, ...THREAD })
}

export const withMemorySaverSaved = (work: Work): Promise<() => Saved> => saved(work, WHOLE)

export const withMemorySaverDeltaSaved = (work: Work): Promise<() => Saved> => saved(work, DELTA)

/** All that the saver holds: a checkpoint after each step of the graph. It is written while the graph runs. */
async function saved(work: Work, schema: typeof WHOLE | typeof DELTA): Promise<() => Saved> {
  const saver = new MemorySaver()
  await savedRun(work, schema, saver)
  const compiled = graph(work, schema).compile({ checkpointer: saver })
  return () => ({
    get bytes() {
      return bytesIn([saver.storage, saver.writes])
    },
    restore: () => compiled.getState(THREAD),
  })
}

/** The bytes of the values and keys in nested objects. */
function bytesIn(value: unknown): number {
  if (value instanceof Uint8Array) return value.byteLength
  if (typeof value !== "object" || value === null) return Buffer.byteLength(String(value))
  return Object.entries(value).reduce((sum, [key, item]) => sum + (Array.isArray(value) ? 0 : Buffer.byteLength(key)) + bytesIn(item), 0)
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
    return new StateGraph(WHOLE)
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
