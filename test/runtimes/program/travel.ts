import { chatDriver, chatProjector, TurnMachine, userMessage } from "turn-machine"
import { defineTool, type Host, memoryJournalStore, runTurn, toolbox } from "turn-machine/hosts"
import { journaled } from "turn-machine/hosts/journal"
import { scriptedModel } from "turn-machine/testing"
import * as z from "zod"

/** A turn on its way through runtimes: all that one runtime passes to the next. */
export interface Luggage {
  /** The text of the journal. */
  readonly journal: string
  /** The checkpoint of a second turn without a journal, in JSON; "" before the first step. */
  readonly checkpoint: string
}

/** The turns after one more effect each. `ended`: the messages of the turn, once it has ended. */
export interface Step extends Luggage {
  readonly performed: readonly string[]
  readonly ended?: { readonly journaled: unknown; readonly restored: unknown }
}

const STOPS = 6

/** The model calls the tool `stamp` six times, and then ends the turn. The tool returns where it runs. */
function turnAt(place: string): { readonly host: Host; readonly turn: Parameters<ReturnType<typeof journaled>["run"]>[1] } {
  const stamp = defineTool({
    name: "stamp",
    description: "Stamps the passport.",
    input: z.object({ stop: z.int() }),
    output: z.object({ stop: z.int(), place: z.string() }),
    execute: async ({ stop }) => ({ stop, place }),
  })
  const tools = toolbox([stamp])
  const calls = Array.from({ length: STOPS }, (_, index) => ({ toolCalls: [{ toolName: "stamp", args: { stop: index + 1 } }] }))
  const config = {
    driver: chatDriver(),
    projector: chatProjector,
    model: "scripted",
    systemPrompt: "Travel. 🧳",
    tools: tools.specs,
    maxIterations: 20,
  }
  const turn = { config, start: { messages: [userMessage("See the world.")] }, turnId: "journey" }
  return { host: { llmCall: scriptedModel([...calls, "I am back."]).llmCall, tools }, turn }
}

/** Ends the run at the second effect: the process stops before it performs another one. */
class NextRuntime extends Error {}

function performingOne(host: Host, performed: string[]): Host {
  const once = (what: string): void => {
    if (performed.length > 0) throw new NextRuntime()
    performed.push(what)
  }
  return {
    llmCall(effect, context) {
      once(`llm_call ${effect.id}`)
      return host.llmCall(effect, context)
    },
    tools: {
      effects: () => "idempotent",
      async call(call, context) {
        once(`tool_calls ${context.effectId}`)
        if (host.tools === undefined) throw new Error("The turn has tools.")
        return host.tools.call(call, context)
      },
    },
  }
}

const isFatal = (error: unknown): boolean => error instanceof NextRuntime

/** Performs one effect of the journaled turn, and one of the turn that is restored from its checkpoint. */
export async function travel(place: string, { journal, checkpoint }: Luggage): Promise<Step> {
  const journaledStep = await stepByJournal(place, journal)
  const restoredStep = await stepByCheckpoint(place, checkpoint)
  const performed = [...journaledStep.performed, ...restoredStep.performed]
  const ended =
    journaledStep.ended === undefined || restoredStep.ended === undefined
      ? {}
      : { ended: { journaled: journaledStep.ended, restored: restoredStep.ended } }
  return { journal: journaledStep.text, checkpoint: restoredStep.text, performed, ...ended }
}

interface HalfStep {
  readonly text: string
  readonly performed: readonly string[]
  readonly ended?: unknown
}

async function stepByJournal(place: string, journal: string): Promise<HalfStep> {
  const store = memoryJournalStore()
  const stored = await store.open("journey.jsonl")
  await stored.append(journal)
  await stored.close()
  const { host, turn } = turnAt(place)
  const performed: string[] = []
  let ended: unknown
  try {
    ended = (await journaled(performingOne(host, performed), store).run("journey.jsonl", turn, { isFatal, now: () => 1_000 })).messages
  } catch (error) {
    if (!isFatal(error)) throw error
  }
  let text = ""
  for await (const part of (await store.read("journey.jsonl")) ?? []) text += part
  return { text, performed, ...(ended !== undefined && { ended }) }
}

async function stepByCheckpoint(place: string, checkpoint: string): Promise<HalfStep> {
  const { host, turn } = turnAt(place)
  const machine = checkpoint === "" ? new TurnMachine(turn.config, turn.start) : TurnMachine.restore(turn.config, checkpoint)
  const performed: string[] = []
  let text = checkpoint
  const saving: Host = {
    ...performingOne(host, performed),
    save(saved) {
      text = JSON.stringify(saved.checkpoint())
    },
  }
  try {
    const { messages } = await runTurn(machine, saving, { isFatal, turnId: "journey" })
    return { text, performed, ended: messages }
  } catch (error) {
    if (!isFatal(error)) throw error
    return { text, performed }
  }
}
