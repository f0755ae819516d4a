import { describe, expect, it } from "vitest"
import type * as z from "zod"
import { DriverAction } from "../../src/schemas/action.ts"
import { ChecklistState } from "../../src/schemas/checklist.ts"
import { CompactionRecord } from "../../src/schemas/compaction.ts"
import { GoalEvent } from "../../src/schemas/goal.ts"
import { JournalRecord } from "../../src/schemas/journal.ts"
import { HistoryRecord } from "../../src/schemas/message.ts"
import type { ViewerData } from "../../src/viewer/data.ts"
import { redacted, redactedPage } from "../../src/viewer/model/redact.ts"
import { recorded, viewed } from "./journals.ts"

/** Everything that a page may have, by the schemas. */
const SHAPES = {
  record: JournalRecord,
  action: DriverAction,
  history: HistoryRecord,
  goal: GoalEvent,
  checklist: ChecklistState,
  compaction: CompactionRecord,
}

interface Definition {
  readonly type: string
  readonly values: readonly unknown[]
  readonly entries: { readonly [name: string]: unknown }
  readonly innerType: z.core.$ZodType
  readonly element: z.core.$ZodType
  readonly valueType: z.core.$ZodType
  readonly in: z.core.$ZodType
  readonly options: readonly z.core.$ZodType[]
  readonly shape: { readonly [name: string]: z.core.$ZodType }
  readonly getter: () => z.core.$ZodType
}

/** Values of each shape of a schema, in which each free text is what `text` makes of its place. */
function samples(schema: z.core.$ZodType, text: (place: string) => string, place: string): readonly unknown[] {
  const { type, ...of } = schema._zod.def as unknown as Definition
  const within = (inner: z.core.$ZodType, at: string = place): readonly unknown[] => samples(inner, text, at)
  switch (type) {
    case "string":
      return [text(place)]
    case "literal":
      return of.values.slice(0, 1)
    case "enum":
      return Object.values(of.entries).slice(0, 1)
    case "number":
    case "int":
      return [7]
    case "boolean":
      return [true]
    case "null":
      return [null]
    case "optional":
    case "nullable":
      return within(of.innerType)
    case "lazy":
      return within(of.getter())
    case "pipe":
      return within(of.in)
    case "array":
      return within(of.element, `${place}[]`).map((value) => [value])
    case "union":
      return of.options.flatMap((option) => within(option))
    case "record":
      return within(of.valueType, `${place}{}`).map((value) => ({ key: value }))
    case "object": {
      const members = Object.entries(of.shape).map(([name, member]) => [name, within(member, `${place}.${name}`)] as const)
      const most = Math.max(1, ...members.map(([, values]) => values.length))
      return Array.from({ length: most }, (_, index) => Object.fromEntries(members.map(([name, values]) => [name, values[index % values.length]])))
    }
    case "unknown":
      return [
        {
          name: text(`${place}.json`),
          id: text(`${place}.json`),
          code: text(`${place}.json`),
          config: { path: text(`${place}.json`) },
          number: 424242,
        },
      ]
    default:
      throw new Error(`${type} at ${place}`)
  }
}

/** The places whose texts are still there. */
function left(text: (place: string) => string): readonly string[] {
  const found = Object.entries(SHAPES).flatMap(([name, schema]) => samples(schema, text, name).map((value) => JSON.stringify(redacted(value))))
  for (const value of found) expect(value).not.toContain("424242")
  return [...new Set(found.flatMap((value) => [...value.matchAll(/text-at-([\w.[\]{}]+)/g)].map(([, place = ""]) => place)))]
}

const lastKey = (place: string): string => place.slice(place.lastIndexOf(".") + 1)

describe("redaction", () => {
  it("replaces each text of each record, but for ids", () => {
    const keys = new Set(left((place) => `a text-at-${place}, said by someone`).map(lastKey))
    expect([...keys].sort()).toEqual(["callId", "childId", "goalId", "id", "itemId", "log", "requestId", "threadId", "toolName", "turnId"])
  })

  it("leaves single words where they are names and codes", () => {
    const places = left((place) => `text-at-${place.replace(/[^\w.]/g, "")}`)
    const ids = ["callId", "childId", "goalId", "id", "itemId", "log", "requestId", "threadId", "toolName", "turnId"]
    const words = ["api", "code", "kind", "language", "mediaType", "model", "modelVariant", "name", "provider", "purpose", "source", "status"]
    expect([...new Set(places.map(lastKey))].sort()).toEqual([...ids, ...words].sort())
    const codes = places.filter((place) => lastKey(place) === "code").map((place) => place.split(".").at(-2))
    expect([...new Set(codes)].sort()).toEqual(["envelope", "error", "event", "failure", "lastReason"])
  })

  it("replaces code that a model wrote", () => {
    expect(
      redacted([
        { type: "exec_code", code: "x" },
        { type: "start_exec", code: "print(1)" },
        { type: "code_started", code: "y" },
        { code: "timeout" },
      ]),
    ).toEqual([
      { type: "exec_code", code: "[redacted: 1 characters]" },
      { type: "start_exec", code: "[redacted: 8 characters]" },
      { type: "code_started", code: "[redacted: 1 characters]" },
      { code: "timeout" },
    ])
  })

  it("replaces what others put into a history, with its keys and numbers", () => {
    const event = { type: "invoice", name: "Smith", config: { key: "k-1" }, total: 424242 }
    const hidden = { type: "invoice", content: "[redacted: 54 characters of JSON]" }
    expect(redacted({ type: "protocol", event })).toEqual({ type: "protocol", event: hidden })
    expect(redacted({ delivery: { events: [event, "a text"] } })).toEqual({ delivery: { events: [hidden, "[redacted: 6 characters]"] } })
    expect(redacted({ type: "plugin_event", event: { type: "custom", name: "rated", payload: { stars: 5 } } })).toEqual({
      type: "plugin_event",
      event: { type: "custom", name: "rated", payload: "[redacted: 11 characters of JSON]" },
    })
  })

  it("replaces digests, by which a guess could be checked, and keeps which are equal", () => {
    expect(redacted({ type: "header", config: { model: "0123abcd", cache: "4567ef01" } })).toEqual({
      type: "header",
      config: { model: "redacted-1", cache: "redacted-2" },
    })
    expect(redacted([{ digest: "d" }, { print: "p" }, { digest: "d" }])).toEqual([
      { digest: "redacted-1" },
      { print: "redacted-2" },
      { digest: "redacted-1" },
    ])
    expect(redacted({ config: "0123abcd" })).toEqual({ config: "[redacted: 8 characters]" })
  })

  it("of a page keeps what is said about its journals, and where a prefix breaks", () => {
    const broken = { at: "/messages/2", reason: "message", marked: false } as const
    const step = { number: 2, states: ["waiting_llm"], asked: [], records: [], messages: [], iteration: 1, broken } as const
    const turn = {
      ...viewed(recorded({ iterations: 1 }), "a folder/run.json"),
      damage: "Record 5 is damaged.",
      note: "The driver is not known here.",
    }
    const steps = { verdict: { type: "agrees", effects: 3 }, steps: [step], compared: 1 } as const
    const page: ViewerData = {
      title: "a folder",
      threads: [],
      turns: [{ ...turn, steps, agent: { driver: "chat", projector: "chat", data: { model: "m" } as never } }],
    }
    const { title, redacted: is, turns } = redactedPage(page)
    expect([title, is, turns[0]?.file, turns[0]?.damage, turns[0]?.note]).toEqual(["a folder", true, turn.file, turn.damage, turn.note])
    expect(turns[0]?.steps).toEqual(steps)
    expect(turns[0]?.agent).toBeUndefined()
    const fingerprints = turn.entries.flatMap(({ print }) => print ?? [])
    expect(fingerprints.length).toBeGreaterThan(3)
    for (const print of fingerprints) expect(JSON.stringify(turns)).not.toContain(print)
  })
})
