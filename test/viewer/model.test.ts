import { describe, expect, it } from "vitest"
import type { Json } from "../../src/json.ts"
import { readJournal } from "../../src/replay/journal.ts"
import type { ViewedThread, ViewerData } from "../../src/viewer/data.ts"
import { goalBudget, turnBudget } from "../../src/viewer/model/budget.ts"
import { itemsOverTurns } from "../../src/viewer/model/checklist.ts"
import { edgesOf } from "../../src/viewer/model/diagram.ts"
import { dataText, pageOf } from "../../src/viewer/model/embed.ts"
import { branchesOf, commandsAfterFork, forkCommands, sideBySide } from "../../src/viewer/model/forks.ts"
import { bytes, count, dollars, duration, short } from "../../src/viewer/model/format.ts"
import { inertLine, inertPieces } from "../../src/viewer/model/inert.ts"
import { readLink, START, writeLink } from "../../src/viewer/model/link.ts"
import { laneGroups } from "../../src/viewer/model/nested.ts"
import { redacted } from "../../src/viewer/model/redact.ts"
import { requestDiff, tokensRead } from "../../src/viewer/model/request-diff.ts"
import { isShown, rowsOf, Search, visibleRange } from "../../src/viewer/model/rows.ts"
import { axisTimes, type Bar, barsOf, drawnBars, lanesOf, ticks, timeScale } from "../../src/viewer/model/timeline.ts"
import { TurnView } from "../../src/viewer/model/turn-view.ts"
import type { ChecklistItem } from "../../src/wire/checklist.ts"
import type { JournalRecord } from "../../src/wire/journal.ts"
import type { LlmRequest } from "../../src/wire/llm.ts"
import type { HistoryRecord } from "../../src/wire/message.ts"
import { AGENT, BEGAN, recorded, viewed } from "./journals.ts"

// 1 header, then for each iteration: model, tools, checkpoint; at last model, checkpoint, end.
const TEXT = recorded({ iterations: 2 })
const { header, entries } = readJournal(TEXT)

describe("rows", () => {
  it("say what each record is", () => {
    expect(rowsOf(header, entries).map(({ number, kind, title, detail }) => [number, kind, title, detail])).toEqual([
      [1, "start", "Turn starts", "1 message"],
      [2, "model", "Model calls look, note", "Answer 0."],
      [3, "tools", "2 tools", "look, note"],
      [4, "save", "Checkpoint", ""],
      [5, "model", "Model calls look, note", "Answer 1."],
      [6, "tools", "2 tools", "look, note"],
      [7, "save", "Checkpoint", ""],
      [8, "model", "Model answers", "Answer 2."],
      [9, "save", "Checkpoint", ""],
      [10, "end", "finished", "Answer 2."],
    ])
  })

  it("are filtered by kind, failure and broken prefix", () => {
    const rows = rowsOf(header, entries)
    const shown = (filter: Parameters<typeof isShown>[1]): readonly number[] =>
      rows.filter((row) => isShown(row, filter, new Set([5]))).map(({ number }) => number)
    expect(shown("model")).toEqual([2, 5, 8])
    expect(shown("tools")).toEqual([3, 6])
    expect(shown("breaks")).toEqual([5])
    expect(shown("failed")).toEqual([])
  })

  it("are found by the texts, names and numbers in their records, in any case", () => {
    const search = new Search(header, entries)
    const found = (query: string): readonly number[] => [header, ...entries].flatMap((_, place) => (search.has(place, query) ? [place + 1] : []))
    expect(found("answer 1.")).toEqual([5])
    expect(found("value 0")).toEqual([3])
    expect(found("look at everything")).toEqual([1])
    // As the text is, and not as JSON writes it.
    expect(found('{"n":1}')).toEqual([5])
    expect(found("no such text")).toEqual([])
  })

  it("survive names that objects have by themselves", () => {
    const odd = readJournal(recorded({ iterations: 1, tool: "__proto__", text: () => "constructor" }))
    expect(rowsOf(odd.header, odd.entries)[1]).toMatchObject({ title: "Model calls __proto__, note", detail: "constructor" })
  })

  it("in view are one screen and half a screen on each side", () => {
    // 10 rows of 30 fit into 300, and one is cut at each edge.
    expect(visibleRange(0, 300, 30, 10_000)).toEqual({ first: 0, end: 17 })
    expect(visibleRange(3_000, 300, 30, 10_000)).toEqual({ first: 94, end: 117 })
    expect(visibleRange(299_700, 300, 30, 10_000)).toEqual({ first: 9_984, end: 10_000 })
    expect(visibleRange(0, 300, 30, 3)).toEqual({ first: 0, end: 3 })
  })
})

describe("timeline", () => {
  it("draws model calls and tools from their durations", () => {
    const bars = barsOf(header, entries).map(({ from, to, kind, label, record }) => [from - BEGAN, to - BEGAN, kind, label, record])
    expect(bars.slice(0, 4)).toEqual([
      [0, 900, "model", "model", 2],
      [900, 1_200, "tool", "look", 3],
      [900, 1_200, "tool", "note", 3],
      [1_205, 2_105, "model", "model", 5],
    ])
  })

  it("draws how long a held call waited, and what continued outside", () => {
    const at = (milliseconds: number): number => BEGAN + milliseconds
    const records: readonly JournalRecord[] = [
      {
        type: "llm_complete",
        id: 1,
        at: at(100),
        result: { ok: false, error: { message: "busy", retryable: true, terminalReason: "provider_error" } },
      },
      { type: "tool_decisions", id: 2, at: at(5_100), decisions: [{ requestId: "2:c1", digest: "d", decision: "approve" }] },
      { type: "tool_pending", id: 2, callId: "c1", token: "job", at: at(5_200) },
      {
        type: "tool_results",
        id: 2,
        at: at(9_000),
        results: [{ callId: "c1", toolName: "pay", args: {}, output: { status: "success", value: null }, durationMs: 10 }],
      },
    ]
    const bars = barsOf(
      header,
      records.map((record, index) => ({ number: index + 2, record, fingerprint: undefined, end: 0 })),
    )
    expect(bars.map(({ from, to, kind, failed }) => [from - BEGAN, to - BEGAN, kind, failed])).toEqual([
      [0, 100, "model", true],
      [100, 5_100, "held", false],
      [5_200, 9_000, "outside", false],
    ])
  })

  const bar = (from: number, to: number, kind: Bar["kind"] = "tool"): Bar => ({ from, to, kind, label: "t", failed: false, record: 1 })

  it("puts bars that overlap into different lanes", () => {
    expect(lanesOf([bar(0, 10), bar(5, 15), bar(10, 20), bar(12, 13)]).map(({ from, lane }) => [from, lane])).toEqual([
      [0, 0],
      [5, 1],
      [10, 0],
      [12, 2],
    ])
  })

  it("draws a wait of days short, and everything else in proportion", () => {
    const day = 86_400_000
    const scale = timeScale([bar(0, 1_000, "model"), bar(day, day + 3_000, "model")])
    expect(scale.gaps).toEqual([{ at: expect.any(Number), milliseconds: day - 1_000 }])
    const [first, second] = [scale.position(1_000), 1 - scale.position(day)]
    expect(second / first).toBeCloseTo(3, 6)
    expect(scale.position(day) - scale.position(1_000)).toBeCloseTo(0.035, 6)
    for (const time of [0, 500, 40_000_000, day + 1_500]) expect(scale.time(scale.position(time)) / (time + 1)).toBeCloseTo(time / (time + 1), 3)
  })

  it("does not shorten an ordinary pause", () => {
    const scale = timeScale([bar(0, 1_000, "model"), bar(1_500, 2_000, "model")])
    expect([scale.gaps, scale.position(500)]).toEqual([[], 0.25])
  })

  it("draws no more bars than there are pixels", () => {
    const bars = lanesOf(Array.from({ length: 20_000 }, (_, index) => bar(index * 10, index * 10 + 8)))
    const scale = timeScale(bars)
    const drawn = drawnBars(bars, scale, { from: 0, to: 1 }, 800)
    expect(drawn.length).toBeLessThan(800)
    expect(drawn.reduce((sum, { count: many }) => sum + many, 0)).toBe(20_000)
    // Zoomed in, each is drawn by itself, and what is outside is not.
    expect(drawnBars(bars, scale, { from: 0.5, to: 0.501 }, 800).length).toBeGreaterThan(18)
    expect(drawnBars(bars, scale, { from: 0.5, to: 0.501 }, 800).length).toBeLessThan(24)
  })

  it("names times that are apart, also around a gap that is drawn short", () => {
    const scale = timeScale([bar(0, 1_000, "model"), bar(86_400_000, 86_401_000, "model")])
    const places = axisTimes(scale, { from: 0, to: 1 }, 660).map((time) => scale.position(time) * 660)
    expect(places.length).toBe(6)
    for (const [index, place] of places.entries()) expect(place).toBeCloseTo(index * 110, 3)
  })

  it("marks times at round distances", () => {
    expect(ticks(1_000, 5)).toEqual([0, 200, 400, 600, 800, 1_000])
    expect(ticks(7_200_000, 4)).toEqual([0, 1_800_000, 3_600_000, 5_400_000, 7_200_000])
    expect(ticks(0, 5)).toEqual([0])
  })
})

const REQUEST: LlmRequest = {
  model: "m",
  messages: [
    { role: "system", blocks: [{ type: "text", text: "s" }] },
    { role: "user", blocks: [{ type: "text", text: "u" }] },
  ],
  attachments: [],
  tools: [{ name: "look", description: "Looks.", inputSchema: {} }],
  toolChoice: "auto",
  generation: {},
}

describe("request difference", () => {
  it("keeps the common messages, and lists what was added", () => {
    const added = { role: "assistant", blocks: [{ type: "text", text: "a" }] } as const
    const diff = requestDiff({ previous: REQUEST, request: { ...REQUEST, messages: [...REQUEST.messages, added] } })
    expect(diff).toEqual({ kept: REQUEST.messages, removed: [], added: [added], toolsAdded: [], toolsRemoved: [], settings: [] })
  })

  it("lists what changed, with tools and settings", () => {
    const changed = { role: "system", blocks: [{ type: "text", text: "S" }] } as const
    const request: LlmRequest = { ...REQUEST, model: "n", messages: [changed, ...REQUEST.messages.slice(1)], tools: [] }
    const diff = requestDiff({ previous: REQUEST, request })
    expect(diff).toMatchObject({ kept: [], removed: REQUEST.messages, toolsRemoved: REQUEST.tools, toolsAdded: [] })
    expect(diff.settings).toEqual([{ key: "model", before: '"m"', after: '"n"' }])
  })

  it("counts what a break cost", () => {
    const usage = (inputTokens: number, cachedInputTokens: number) => ({ inputTokens, cachedInputTokens, outputTokens: 1, reasoningTokens: 0 })
    // 1,000 tokens had been sent; 200 of them came from the cache again.
    expect(tokensRead(usage(1_300, 200), usage(400, 600))).toBe(800)
    expect(tokensRead(usage(100, 1_000), usage(400, 600))).toBe(0)
    expect(tokensRead(undefined, usage(1, 1))).toBeUndefined()
  })
})

describe("redaction", () => {
  it("replaces texts, arguments and values, and keeps what happened", () => {
    const found = JSON.stringify(redacted({ header, entries, meta: { task: "a secret" }, args: { iban: 123456, ok: true } }))
    for (const secret of ["Look at everything", "Answer 1", "Value 0", "You look things up", '\\"n\\"', "a secret", "123456", "iban"])
      expect(found, secret).not.toContain(secret)
    for (const fact of ['"llm_complete"', '"look"', '"c0-0"', '"inputTokens":40', '"tool_use"']) expect(found).toContain(fact)
    expect(found).toContain("[redacted: 9 characters]")
  })

  it("replaces a text under a key that it does not know", () => {
    expect(redacted({ type: "note", surprise: "secret", list: ["secret"], deep: { other: { more: "secret" } } })).toEqual({
      type: "note",
      surprise: "[redacted: 6 characters]",
      list: ["[redacted: 6 characters]"],
      deep: { other: { more: "[redacted: 6 characters]" } },
    })
  })

  it("replaces the name of a check, which is its command", () => {
    expect(redacted({ name: "curl example.com", command: "curl example.com" })).toEqual({
      name: "[redacted: 16 characters]",
      command: "[redacted: 16 characters]",
    })
  })
})

describe("texts of a journal", () => {
  it("hide nothing", () => {
    expect(inertPieces("a\u202eb\u0000\u200bc")).toEqual([
      { text: "a" },
      { hidden: "U+202E" },
      { text: "b" },
      { hidden: "U+0000" },
      { hidden: "U+200B" },
      { text: "c" },
    ])
    expect(inertPieces("line\n\ttab é 日本 😀")).toEqual([{ text: "line\n\ttab é 日本 😀" }])
    expect(inertLine("one\n two\u202e", 50)).toBe("one two⟨U+202E⟩")
    expect(inertLine("x".repeat(400), 10)).toBe(`${"x".repeat(10)}…`)
  })

  it("cannot leave the element that they are in", () => {
    const hostile = "</script><script>alert(1)</script><!--\u2028\u2029\ud800]]>"
    const data = { title: "<b>&\"'", turns: [], threads: [], hostile } as unknown as ViewerData
    const text = dataText(data)
    expect(text).not.toMatch(/[<\u2028\u2029\ud800]/)
    expect(JSON.parse(text)).toEqual(data)
    expect(pageOf("<title>%TITLE%</title><script>%DATA%</script>", data)).toBe(`<title>&#60;b&#62;&#38;&#34;&#39;</title><script>${text}</script>`)
  })
})

describe("links", () => {
  it("name the turn, the record and the view", () => {
    const place = { ...START, turn: 2, record: 17, tab: "request", query: "a b&c", filter: "failed" } as const
    expect(writeLink(place)).toBe("#turn=3&record=17&tab=request&q=a+b%26c&filter=failed")
    expect(readLink(writeLink(place), 3)).toEqual(place)
    expect(writeLink(START)).toBe("#")
  })

  it("are read with what is wrong in them left out", () => {
    expect(readLink("#turn=99&record=-1&view=__proto__&tab=x&filter=constructor", 3)).toEqual(START)
  })
})

describe("figures", () => {
  it("are short", () => {
    expect([count(1_234_567), short(999), short(1_234), short(9_960), short(1_500_000)]).toEqual(["1,234,567", "999", "1.2k", "10k", "1.5M"])
    expect([duration(4), duration(1_234), duration(65_000), duration(7_800_000), duration(180_000_000)]).toEqual([
      "4 ms",
      "1.2 s",
      "1 min 5 s",
      "2 h 10 min",
      "2 d 2 h",
    ])
    expect([bytes(812), bytes(3_400), bytes(12_300_000)]).toEqual(["812 B", "3.4 kB", "12 MB"])
    expect([dollars(0), dollars(13_240), dollars(1_250_000)]).toEqual(["$0", "$0.013", "$1.25"])
  })
})

describe("budget", () => {
  it("of a turn rises with each call", () => {
    const { points, used, limit } = turnBudget(
      new TurnView({ title: "", threads: [], turns: [{ ...viewed(TEXT), agent: { ...AGENT, data: { ...AGENT.data, maxTokens: 500 } } }] }, 0),
    )
    expect(points.map(({ at, own }) => [at - BEGAN, own])).toEqual([
      [0, 0],
      [900, 60],
      [1_200, 60],
      [2_105, 120],
      [2_405, 120],
      [3_310, 180],
    ])
    expect([used, limit]).toEqual([180, 500])
  })

  const goal = (at: number, own: number, children: number, more: object = {}): HistoryRecord => ({
    type: "protocol",
    event: {
      type: "goal",
      at,
      threadId: "t",
      cause: "usage",
      goal: {
        goalId: "g1",
        threadId: "t",
        objective: "o",
        status: "active",
        tokenBudget: 1_000,
        secondsBudget: null,
        costBudgetMicros: null,
        tokensUsed: own,
        childTokensUsed: children,
        secondsUsed: 0,
        costUsedMicros: 0,
        continuations: 0,
        createdAt: 0,
        updatedAt: at,
        ...more,
      },
      memory: {},
    },
  })

  it("of a goal tells its judge from its children, and shows what is reserved", () => {
    const judged: HistoryRecord = { type: "protocol", event: { type: "judged", threadId: "t", key: "k" } }
    const records = [
      goal(0, 0, 0),
      goal(10, 100, 0),
      goal(20, 100, 30),
      judged,
      goal(30, 150, 80),
      goal(40, 150, 80, { status: "complete", tokenBudget: 2_000 }),
    ]
    const series = goalBudget({ threadId: "t", records, turns: [] }, [{ from: 15, to: 35, tokens: 200 }])
    expect(series?.points.map(({ at, own, judge, children, reserved }) => [at, own, judge, children, reserved])).toEqual([
      [0, 0, 0, 0, 0],
      [10, 100, 0, 0, 0],
      [20, 100, 30, 0, 200],
      [30, 150, 30, 50, 200],
      [40, 150, 30, 50, 0],
    ])
    expect(series).toMatchObject({
      used: 230,
      limit: 2_000,
      limits: [
        { at: 0, limit: 1_000 },
        { at: 40, limit: 2_000 },
      ],
      marks: [
        { at: 0, label: "goal set" },
        { at: 40, label: "complete" },
      ],
    })
  })
})

describe("checklist", () => {
  it("gives each item the turns after which it was added and settled", () => {
    const item = (id: string, more: Partial<ChecklistItem>): ChecklistItem => ({
      id,
      text: id,
      status: "pending",
      addedBy: "judge",
      addedAt: 15,
      ...more,
    })
    const checklist = [item("i1", { status: "completed", completedAt: 35, evidence: { type: "text", text: "seen" } }), item("i2", { addedAt: 5 })]
    const thread: ViewedThread = {
      threadId: "t",
      records: [],
      turns: [
        { turnId: "t.1", at: 0, endedAt: 10, origin: "user" },
        { turnId: "t.2", at: 20, endedAt: 30, origin: "continuation" },
        { turnId: "t.3", at: 40, origin: "continuation" },
      ],
      checklist: { nextGoalNumber: 2, goal: { checklist } as never },
    }
    expect(itemsOverTurns(thread).map(({ addedAfter, settledAfter, evidence }) => [addedAfter, settledAfter, evidence])).toEqual([
      [0, 1, "seen"],
      [-1, undefined, undefined],
    ])
  })
})

describe("children", () => {
  it("have lanes below their parent once, also where journals say that each is the other's child", () => {
    const of = (turnId: string, parent: string) => {
      const turn = viewed(TEXT)
      return { ...turn, header: { ...turn.header, turnId, parent: { turnId: parent, effectId: 2, callId: "c", depth: 1 } } }
    }
    const journals = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? of("a", "b") : of("b", "a")))
    const data: ViewerData = { title: "", threads: [], turns: journals }
    const views = journals.map((_, index) => new TurnView(data, index))
    const groups = laneGroups(views, views[0] as TurnView)
    // Model calls and tools of each journal.
    expect(groups.length).toBe(80)
    expect(groups.map(({ turn, depth }) => [turn, depth]).slice(0, 5)).toEqual([
      [0, 0],
      [0, 0],
      [1, 1],
      [1, 1],
      [2, 2],
    ])
  })
})

describe("forks", () => {
  const turn = (turnId: string, from?: string, record = 5): { readonly header: typeof header } => ({
    header: { ...header, turnId, ...(from !== undefined && { forkedFrom: { turnId: from, record } }) },
  })

  it("are branches of what they come from", () => {
    const branches = branchesOf([turn("b", "a", 7), turn("a"), turn("c", "b", 9), turn("d", "elsewhere")])
    expect(branches).toEqual([
      { turn: 1, parent: undefined, at: undefined, depth: 0 },
      { turn: 0, parent: 1, at: 7, depth: 1 },
      { turn: 2, parent: 0, at: 9, depth: 2 },
      { turn: 3, parent: undefined, at: undefined, depth: 0 },
    ])
  })

  it("that name one another end", () => {
    expect(branchesOf([turn("a", "b"), turn("b", "a")]).map(({ turn: index }) => index)).toEqual([0, 1])
  })

  it("are made by commands that the command line has", () => {
    const entry = entries.find(({ number }) => number === 5)
    expect(entry && forkCommands("'my run.json'", entry).map(({ command }) => command)).toEqual([
      "turn-machine journal fork 'my run.json' --at 5 --out fork.json",
      "turn-machine journal fork 'my run.json' --at 5 --out fork.json --text \"…\"",
      "turn-machine journal show 'my run.json' --record 5 > answer.json\nturn-machine journal fork 'my run.json' --at 5 --out fork.json --answer-file answer.json",
    ])
  })

  it("are resumed by the program that wrote them", () => {
    const compare = "turn-machine journal view run.json fork.json"
    const commands = (meta: Json) => commandsAfterFork("run.json", { meta }).map(({ command }) => command)
    expect(commands({ format: "turn-machine/run", version: 2 })).toEqual(["turn-machine resume fork.json", compare])
    expect([commands({ format: "other" }), commands(null)]).toEqual([[compare], [compare]])
  })

  it("share the records before the first difference", () => {
    const other = readJournal(recorded({ iterations: 2, text: (iteration) => (iteration === 1 ? "Another." : `Answer ${iteration}.`) }))
    expect(sideBySide(readJournal(TEXT), other)).toMatchObject({ shared: 4, why: "The same request has different answers." })
  })
})

describe("diagram", () => {
  it("has the edges of the machine's table, and marks those that were taken", () => {
    const edges = edgesOf(["waiting_checkpoint", "prepare_iteration", "waiting_llm"])
    expect(edges.filter(({ taken }) => taken !== undefined)).toEqual([
      { from: "waiting_checkpoint", to: "prepare_iteration", taken: 1 },
      { from: "prepare_iteration", to: "waiting_llm", taken: 2 },
    ])
    expect(edges).toContainEqual({ from: "waiting_llm", to: "waiting_tools", taken: undefined })
    expect(edges.some(({ from }) => from === "finished")).toBe(false)
  })
})
