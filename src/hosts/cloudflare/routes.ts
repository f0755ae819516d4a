import type { Thread } from "../thread/thread.ts"
import { answerOf, type Body, commandOf, decisionsOf, eventOf, inputIdOf, inputOf, reasonOf } from "./requests.ts"
import { TurnObjectError } from "./turn-object-error.ts"

/** The methods of an object that have a route. They are those of its thread. */
type Routed = Pick<Thread, "say" | "redirect" | "retract" | "command" | "event" | "decide" | "answer" | "interrupt">

/** Does what a request asks for. Resolves to the body of the response. */
type PostRoute = (object: Routed, body: Body) => Promise<object>

/** The routes that change something, by name. */
export const POST_ROUTES: ReadonlyMap<string, PostRoute> = new Map<string, PostRoute>([
  ["say", (object, body) => object.say(...inputOf(body, true))],
  ["redirect", (object, body) => object.redirect(...inputOf(body, false))],
  ["retract", async (object, body) => ({ result: await object.retract(inputIdOf(body)) })],
  ["command", async (object, body) => ({ outputs: await object.command(...commandOf(body)) })],
  [
    "event",
    async (object, body) => {
      await object.event(...eventOf(body))
      return {}
    },
  ],
  ["decide", async (object, body) => ({ results: await object.decide(...decisionsOf(body)) })],
  ["answer", async (object, body) => ({ result: await object.answer(...answerOf(body)) })],
  ["interrupt", (object, body) => object.interrupt(reasonOf(body))],
])

/** @throws {TurnObjectError} `method_not_allowed` */
export function requireMethod({ method }: Request, allowed: string): void {
  if (method !== allowed) throw new TurnObjectError("method_not_allowed", `The route takes ${allowed}, not ${method}.`)
}
