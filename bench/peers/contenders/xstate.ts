import { assign, initialTransition, setup, transition } from "xstate"
import { ANSWER, argumentsOf, type Contender, QUESTION, TOOL, type Work } from "../script.ts"

// An agent's turn in the pure form of XState: the caller performs the actions and sends the events.

interface Message {
  readonly role: string
  readonly content: unknown
}
type Event =
  | { readonly type: "answered"; readonly text: string }
  | { readonly type: "called"; readonly id: string; readonly args: { readonly path: string } }
  | { readonly type: "ran"; readonly id: string; readonly text: string }

const machine = setup({ types: { context: {} as { messages: readonly Message[] }, events: {} as Event } }).createMachine({
  context: { messages: [{ role: "user", content: QUESTION }] },
  initial: "model",
  states: {
    model: {
      on: {
        called: {
          target: "tool",
          actions: assign({
            messages: ({ context, event }) => [
              ...context.messages,
              { role: "assistant", content: [{ type: "tool_call", name: TOOL.name, id: event.id, args: event.args }] },
            ],
          }),
        },
        answered: {
          target: "done",
          actions: assign({ messages: ({ context, event }) => [...context.messages, { role: "assistant", content: event.text }] }),
        },
      },
    },
    tool: {
      on: {
        ran: {
          target: "model",
          actions: assign({ messages: ({ context, event }) => [...context.messages, { role: "tool", content: { id: event.id, text: event.text } }] }),
        },
      },
    },
    done: { type: "final" },
  },
})

export const pure: Contender = async (work: Work) => {
  let [state] = initialTransition(machine)
  while (state.status !== "done") {
    const step = await work.nextStep()
    if (step === undefined) {
      ;[state] = transition(machine, state, { type: "answered", text: ANSWER })
      continue
    }
    const call = { id: `call_${step}`, args: argumentsOf(step) }
    ;[state] = transition(machine, state, { type: "called", ...call })
    ;[state] = transition(machine, state, { type: "ran", id: call.id, text: await work.result(call.args.path) })
  }
  return state.context
}
