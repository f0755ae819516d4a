import { readUIMessageStream, type UIMessage, type UIMessageChunk, uiMessageChunkSchema } from "ai"
import { readUIMessageStream as readUIMessageStream7, uiMessageChunkSchema as uiMessageChunkSchema7 } from "ai-7"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { memoryJournalStore } from "../../src/hosts/journal/memory.ts"
import { threadEvents } from "../../src/hosts/thread/events.ts"
import { type UiChunk, UiMessageFold, uiMessages, withoutRetracted } from "../../src/projectors/ui-stream/index.ts"
import { ResumedUiStream } from "../../src/projectors/ui-stream/resume.ts"
import { type PositionedChunk, UiStream } from "../../src/projectors/ui-stream/ui-stream.ts"
import type { DurableThreadEvent } from "../../src/wire/thread-event.ts"
import { aStory, playStory, type Story } from "../support/thread-stories.ts"
import { checkAsync, SLOW } from "./check.ts"

// Conversations with crashes, failed attempts, cancellations, held calls and inputs at any time, as chunks: live, replayed, and continued at each place.

/** The chunks without what the law leaves open: how text is split, and what is transient. */
function joined(chunks: readonly UiChunk[]): UiChunk[] {
  const result: UiChunk[] = []
  for (const chunk of chunks) {
    if ("transient" in chunk) continue
    const last = result.at(-1)
    if ("delta" in chunk && last !== undefined && "delta" in last && last.id === chunk.id)
      result[result.length - 1] = { ...last, delta: last.delta + chunk.delta }
    else result.push(chunk)
  }
  return result
}

/** The chunks without the texts that were retracted, and the marks. */
function confirmed(chunks: readonly UiChunk[]): UiChunk[] {
  const result: UiChunk[] = []
  for (const chunk of chunks) {
    if (chunk.type !== "data-retracted") {
      result.push(chunk)
      continue
    }
    const { parts } = chunk.data as { readonly parts: number }
    for (let left = parts; left > 0; left -= 1) {
      let from = result.length - 1
      while (from >= 0 && result[from]?.type !== "text-start" && result[from]?.type !== "reasoning-start") from -= 1
      const start = result[from] as { readonly id: string }
      expect(start).toBeDefined()
      const own = result.slice(from).filter((one) => /^(text|reasoning)-/.test(one.type) && "id" in one && one.id === start.id)
      expect(own.at(-1)?.type).toMatch(/-end$/)
      for (const one of own) result.splice(result.indexOf(one, from), 1)
    }
  }
  return result
}

const isRetracted = (chunks: readonly UiChunk[]): boolean => chunks.some(({ type }) => type === "data-retracted")
/** Where a text was retracted, the step has begun already, before what came in between, and even if nothing more came. */
const withoutSteps = (chunks: readonly UiChunk[]): UiChunk[] => chunks.filter(({ type }) => type !== "start-step" && type !== "finish-step")

function expectSame(chunks: readonly UiChunk[], replayed: readonly UiChunk[], hasRetracted: boolean = isRetracted(chunks)): void {
  if (hasRetracted) expect(withoutSteps(joined(confirmed(chunks)))).toEqual(withoutSteps(joined(replayed)))
  else expect(joined(chunks)).toEqual(joined(replayed))
}

const streamOf = (chunks: readonly UiChunk[]): ReadableStream<UIMessageChunk> =>
  new ReadableStream({
    start(controller) {
      for (const chunk of structuredClone(chunks)) controller.enqueue(chunk as UIMessageChunk)
      controller.close()
    },
  })

async function lastOf(messages: AsyncIterable<unknown>): Promise<UIMessage | undefined> {
  let last: UIMessage | undefined
  for await (const message of messages) last = message as UIMessage
  return last
}

/** The message that the clients make of the chunks of one turn. */
async function messageOf(chunks: readonly UiChunk[]): Promise<UIMessage | undefined> {
  // A client stops at an error.
  const read = chunks.filter(({ type }) => type !== "error")
  const six = await lastOf(readUIMessageStream({ stream: streamOf(read), terminateOnError: true }))
  const seven = await lastOf(readUIMessageStream7({ stream: streamOf(read) as never, terminateOnError: true }))
  expect(seven?.parts.length).toEqual(six?.parts.length)
  return six
}

async function expectValid(chunks: readonly UiChunk[]): Promise<void> {
  for (const chunk of chunks)
    for (const schema of [uiMessageChunkSchema(), uiMessageChunkSchema7()]) {
      const result = await schema.validate?.(structuredClone(chunk))
      expect(result, JSON.stringify(chunk)).toMatchObject({ success: true })
    }
}

/** Groups chunks by their turn. */
function byTurn(chunks: readonly PositionedChunk[]): Map<string, PositionedChunk[]> {
  const turns = new Map<string, PositionedChunk[]>()
  let turn: PositionedChunk[] = []
  for (const chunk of chunks) {
    if (chunk.chunk.type === "start") {
      turn = turns.get(chunk.chunk.messageId) ?? []
      turns.set(chunk.chunk.messageId, turn)
    }
    turn.push(chunk)
  }
  return turns
}

/** Plays a story. `live`: the chunks of one reader who was there all the time. */
async function playLive(story: Story) {
  const store = memoryJournalStore()
  const live: PositionedChunk[] = []
  const stream = new UiStream()
  let cursor: string | undefined
  const { options } = await playStory(story, store, async (thread, { killed }) => {
    for await (const event of thread.events({ ...(cursor !== undefined && { after: cursor }), signal: killed })) {
      if ("cursor" in event) ({ cursor } = event)
      live.push(...stream.next(event))
    }
  })
  return { store, options, live }
}

const bare = (chunks: readonly { readonly chunk: UiChunk }[]): UiChunk[] => chunks.map(({ chunk }) => chunk)

test(
  "the chunks of a replay are those of the live run, each client can read them, and any cursor continues with what was not seen",
  SLOW,
  async () => {
    await checkAsync(
      300,
      fc.asyncProperty(aStory, async (story) => {
        const { store, options, live } = await playLive(story)
        const recorded: DurableThreadEvent[] = []
        for await (const event of threadEvents(store, "t", { thread: options })) recorded.push(event)
        const stream = new UiStream()
        const replayed = recorded.flatMap((event) => stream.next(event))

        expectSame(bare(live), bare(replayed))
        expect(isRetracted(bare(replayed))).toBe(false)
        await expectValid(bare(live))

        const loaded = uiMessages(recorded)
        const fold = new UiMessageFold()
        for (const [index, event] of recorded.entries()) {
          fold.next(event)
          if (index % 7 === 0) expect(fold.messages).toEqual(uiMessages(recorded.slice(0, index + 1)))
        }
        expect(fold.messages).toEqual(loaded)
        const liveTurns = byTurn(live)
        for (const [turnId, turn] of byTurn(replayed)) {
          const message = loaded.messages.find(({ id }) => id === turnId)
          if (message !== undefined) expect(await messageOf(bare(turn))).toEqual(message)
          const shown = liveTurns.get(turnId) ?? []
          const seen = await messageOf(bare(shown))
          if (message !== undefined && seen !== undefined) {
            const isStep = ({ type }: { readonly type: string }): boolean => type === "step-start"
            const all = withoutRetracted(seen).parts
            if (isRetracted(bare(shown))) expect(all.filter((part) => !isStep(part))).toEqual(message.parts.filter((part) => !isStep(part)))
            else expect(all).toEqual(message.parts)
          }

          for (const [index, { cursor }] of shown.entries()) {
            const resumed = ResumedUiStream.of(cursor)
            if (resumed === undefined) throw new Error(`Not a cursor: ${cursor}`)
            const { after } = resumed
            const from = after === undefined ? recorded : recorded.slice(recorded.findIndex((event) => event.cursor === after) + 1)
            const rest: UiChunk[] = []
            for (const event of from) {
              rest.push(...bare(resumed.unseen(resumed.stream.next(event))))
              if (event.type === "turn_ended") break
            }
            expectSame([...bare(shown.slice(0, index + 1)), ...rest], bare(turn), isRetracted(bare(shown)))
          }
        }
      }),
      20,
    )
  },
)
