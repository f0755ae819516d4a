import { expect, test } from "vitest"
import { memoryJournalStore } from "../../../src/hosts/journal/memory.ts"
import { runThread, Thread } from "../../../src/hosts/thread/thread.ts"
import type { ThreadEvent } from "../../../src/wire/thread-event.ts"
import { says, World } from "./support.ts"

test("try", async () => {
  const store = memoryJournalStore()
  const world = new World((calls) => (calls === 0 ? says("I look.", "c1=look") : says("Done.")))
  const thread = await Thread.open(store, "t", world.options())
  const live: ThreadEvent[] = []
  const reading = (async () => {
    for await (const event of thread.events()) live.push(event)
  })()
  const host = {
    ...world.host,
    llmCall: async (effect: never, context: never) => {
      const answer = await world.host.llmCall(effect, context)
      for (const char of answer.text) {
        await Promise.resolve()
        ;(context as { emit(e: unknown): void }).emit({ type: "text_delta", content: char })
      }
      return answer
    },
  }
  await thread.say("Hello")
  await runThread(thread, host as never, { now: () => world.at })
  const recorded: ThreadEvent[] = []
  for await (const event of thread.events({ live: false })) recorded.push(event)
  await thread.close()
  await reading
  for (const event of live) console.log(JSON.stringify(event).slice(0, 220))
  expect(live.filter((event) => "cursor" in event)).toEqual(recorded)
})
