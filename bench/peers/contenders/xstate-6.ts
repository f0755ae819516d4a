import { createMachine, initialTransition, transition } from "xstate-6"
import { ANSWER, argumentsOf, type Contender, QUESTION, TOOL } from "../script.ts"

// As xstate.ts, in the form of version 6: a transition is a function that returns the next context.

interface Message {
  readonly role: string
  readonly content: unknown
}
interface Step {
  readonly context: { readonly messages: readonly Message[] }
  readonly event: { readonly id: string; readonly text: string; readonly args: unknown }
}
const added = ({ context }: Step, message: Message) => ({ messages: [...context.messages, message] })

interface State {
  readonly status: string
  readonly context: unknown
}

const machine = createMachine({
  context: { messages: [{ role: "user", content: QUESTION }] },
  initial: "model",
  states: {
    model: {
      on: {
        called: (step: Step) => {
          const { id, args } = step.event
          return { target: "tool", context: added(step, { role: "assistant", content: [{ type: "tool_call", name: TOOL.name, id, args }] }) }
        },
        answered: (step: Step) => ({ target: "done", context: added(step, { role: "assistant", content: step.event.text }) }),
      },
    },
    tool: {
      on: {
        ran: (step: Step) => ({ target: "model", context: added(step, { role: "tool", content: { id: step.event.id, text: step.event.text } }) }),
      },
    },
    done: { type: "final" },
  },
} as never)

export const pure: Contender = async (work) => {
  let [state] = initialTransition(machine) as [State, unknown]
  const send = (event: object): void => {
    ;[state] = transition(machine, state as never, event as never) as [State, unknown]
  }
  while (state.status !== "done") {
    const step = await work.nextStep()
    if (step === undefined) {
      send({ type: "answered", text: ANSWER })
      continue
    }
    const call = { id: `call_${step}`, args: argumentsOf(step) }
    send({ type: "called", ...call })
    send({ type: "ran", id: call.id, text: await work.result(call.args.path) })
  }
  return state.context
}
