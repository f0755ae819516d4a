import { chatDriver } from "../src/drivers/chat.ts"
import type { TurnConfig } from "../src/machine/config.ts"
import { TurnMachine } from "../src/machine/turn-machine.ts"
import { chatProjector } from "../src/projectors/chat.ts"
import { wrapProjector } from "../src/projectors/wrap-projector.ts"
import { fingerprint } from "../src/replay/fingerprint.ts"
import type { TurnStart } from "../src/schemas/config.ts"
import type { Message, TurnCause } from "../src/schemas/message.ts"
import type { Response } from "../src/schemas/response.ts"
import { median } from "./rounds.ts"
import { answer, CONFIG, START } from "./script.ts"

/** The iterations before the measured ones. */
export const DEPTHS = [200, 2_000] as const
const MEASURED = 50

type Kind = "plain" | "cause" | "startCause" | "orphan" | "wrapped" | "spread"

export interface ProjectionFigures {
  readonly kind: string
  /** Microseconds per iteration after {@link DEPTHS} iterations, the median round. */
  readonly us: readonly number[]
}

const TITLES: { readonly [Name in Kind]: string } = {
  plain: "plain",
  cause: "a cause delivered in the first iteration",
  startCause: "a cause that the turn was started for",
  orphan: "an open call in the history",
  wrapped: "wrapProjector with a request patch",
  spread: "{ ...chatProjector(input) }",
}

/**
 * Measures an iteration with the fingerprint of its request, after few and after many others, for the transcripts and projectors
 * that could make each request cost what the whole transcript costs.
 */
export function measureProjections(quick: boolean): readonly ProjectionFigures[] {
  for (const kind of Object.keys(TITLES) as Kind[]) for (let round = 0; round < 3; round += 1) microsecondsAt(kind, 400) // until the code is compiled
  return (Object.keys(TITLES) as Kind[]).map((kind) => ({
    kind: TITLES[kind],
    us: DEPTHS.map((depth) => median(Array.from({ length: quick ? 3 : 9 }, () => microsecondsAt(kind, depth)))),
  }))
}

function microsecondsAt(kind: Kind, depth: number): number {
  const machine = new TurnMachine(configOf(kind), startOf(kind))
  let iteration = 0
  const run = (until: number): void => {
    for (; iteration < until; ) {
      for (let effect = machine.poll(); effect !== undefined; effect = machine.poll()) if (effect.type === "llm_call") fingerprint(effect)
      const { outstanding } = machine
      if (outstanding === undefined) throw new Error("The turn ended.")
      const response = answer(outstanding, iteration, Number.POSITIVE_INFINITY)
      machine.handle(kind === "cause" && iteration === 0 ? withCause(response) : response)
      if (outstanding.type === "checkpoint") iteration += 1
    }
  }
  run(depth)
  const start = performance.now()
  run(depth + MEASURED)
  return ((performance.now() - start) * 1_000) / MEASURED
}

const CAUSE: TurnCause = {
  id: "cause-1",
  eventType: "mail",
  origin: { type: "process", processId: "inbox", eventType: "mail", sequence: 1 },
  text: "A mail arrived.",
}

const ORPHAN: Message = {
  id: "cut",
  role: "assistant",
  parts: [{ id: "cut.p0", type: "tool_call", callId: "cut", toolName: "read_file", inputJson: "{}" }],
}

function withCause(response: Response): Response {
  return response.type === "checkpoint_delivery" ? { ...response, delivery: { turnCauses: [CAUSE] } } : response
}

function startOf(kind: Kind): TurnStart {
  if (kind === "startCause") return { ...START, turnCauses: [CAUSE] }
  return kind === "orphan" ? { messages: [ORPHAN, ...START.messages] } : START
}

function configOf(kind: Kind): TurnConfig {
  const projector =
    kind === "wrapped"
      ? wrapProjector(chatProjector, { request: ({ generation }) => ({ generation: { ...generation, maxOutputTokens: 200 } }) })
      : kind === "spread"
        ? (input: Parameters<typeof chatProjector>[0]) => ({ ...chatProjector(input), toolChoice: "auto" as const })
        : chatProjector
  return { ...CONFIG, driver: chatDriver(), projector }
}
