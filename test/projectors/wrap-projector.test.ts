import { expect, test } from "vitest"
import { messagesListing } from "../../src/lazy.ts"
import { History } from "../../src/machine/history.ts"
import { chatProjector } from "../../src/projectors/chat.ts"
import type { ProjectionInput, Projector } from "../../src/projectors/projector.ts"
import { wrapProjector } from "../../src/projectors/wrap-projector.ts"
import type { Message } from "../../src/schemas/message.ts"
import { configOf, userMessage } from "../machine/support.ts"

const image: Message = {
  id: "u2",
  role: "user",
  parts: [{ id: "u2.p0", type: "image", attachment: { id: "a", mediaType: "image/png", byteLength: 1 } }],
}
const INPUT: ProjectionInput = {
  config: configOf(),
  systemPrompt: "Be brief.",
  tools: [],
  messages: History.of([userMessage("hello"), image]),
  events: History.of([]),
  turnCauses: [],
  startLength: 2,
  iteration: 0,
  useTools: true,
}

test("changes the input and the request, and keeps the rest of the request", () => {
  const wrapped = wrapProjector(chatProjector, {
    input: (input) => ({ ...input, systemPrompt: "Be long." }),
    request: ({ generation }) => ({ generation: { ...generation, maxOutputTokens: 5 } }),
  })
  const plain = chatProjector({ ...INPUT, systemPrompt: "Be long." })
  expect(JSON.parse(JSON.stringify(wrapped(INPUT)))).toEqual({ ...JSON.parse(JSON.stringify(plain)), generation: { maxOutputTokens: 5 } })
  expect(wrapped(INPUT).attachments).toHaveLength(1)
  expect(chatProjector(INPUT).generation).toEqual({})
})

test("the messages are still put together when they are read, and can be replaced", () => {
  const wrapped = wrapProjector(chatProjector, { request: () => ({ tools: [] }) })(INPUT)
  expect(messagesListing(wrapped)).toBeDefined()
  const emptied = wrapProjector(chatProjector, { request: () => ({ messages: [] }) })(INPUT)
  expect(messagesListing(emptied)).toBeUndefined()
  expect(emptied.messages).toEqual([])
})

test("a property that the inner function has passes through", () => {
  const inner: Projector & { readonly later?: number } = Object.assign((input: ProjectionInput) => chatProjector(input), { later: 7 })
  expect((wrapProjector(inner, {}) as typeof inner).later).toBe(7)
})
