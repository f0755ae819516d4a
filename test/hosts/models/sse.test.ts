import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type SseEvent, SseParser } from "../../../src/hosts/models/sse.ts"

describe("server-sent events", () => {
  test.each<[string, string, readonly SseEvent[]]>([
    ["one line", "data: one\n\n", [{ event: "", data: "one" }]],
    ["no space after the colon, and two", "data:one\n\ndata:  two\n\n", [event("one"), event(" two")]],
    ["several data lines", "data: one\ndata\ndata: two\n\n", [event("one\n\ntwo")]],
    ["CRLF", "data: one\r\n\r\ndata: two\r\n\r\n", [event("one"), event("two")]],
    ["CR alone", "data: one\r\rdata: two\r\r", [event("one"), event("two")]],
    ["mixed line ends", "data: one\r\n\ndata: two\n\r\n", [event("one"), event("two")]],
    ["comments and other fields", ": OPENROUTER PROCESSING\n\nid: 7\nretry: 10\nfoo: bar\ndata: one\n: in between\n\n", [event("one")]],
    ["a named event, whose name does not stay", "event: error\ndata: one\n\ndata: two\n\n", [{ event: "error", data: "one" }, event("two")]],
    ["an event without data", "event: ping\n\ndata: one\n\n", [event("one")]],
    ["a byte order mark", "\ufeffdata: one\n\n", [event("one")]],
    ["a colon in the data", 'data: {"a":"b: c"}\n\n', [event('{"a":"b: c"}')]],
    ["nothing", "", []],
  ])("%s", (_what, text, events) => {
    const parser = new SseParser()
    expect(parser.push(bytes(text))).toEqual(events)
    expect(parser.end()).toEqual([])
  })

  test("an event without its closing empty line comes at the end", () => {
    const withNewline = new SseParser()
    expect(withNewline.push(bytes("data: one\n\ndata: two\n"))).toEqual([event("one")])
    expect(withNewline.end()).toEqual([event("two")])
    const without = new SseParser()
    expect(without.push(bytes("data: one\n\nevent: x\ndata: tw"))).toEqual([event("one")])
    expect(without.end()).toEqual([{ event: "x", data: "tw" }])
    expect(without.end()).toEqual([])
  })

  test("the events are the same wherever the bytes are split, also in characters and line ends", () => {
    const text = ": hello\r\n\r\ndata: Grüße 東京 🗼\r\n\r\nevent: x\rdata: one\r\ndata: two\r\rdata: last\n\n"
    const events = [event("Grüße 東京 🗼"), { event: "x", data: "one\ntwo" }, event("last")]
    const all = bytes(text)
    fc.assert(
      fc.property(fc.array(fc.nat({ max: all.length })), (cuts) => {
        const parser = new SseParser()
        const ends = [...cuts.sort((a, b) => a - b), all.length]
        const read = ends.flatMap((end, index) => parser.push(all.subarray(ends[index - 1] ?? 0, end)))
        expect([...read, ...parser.end()]).toEqual(events)
      }),
    )
  })

  test("an empty push between CR and LF changes nothing", () => {
    const parser = new SseParser()
    expect(["data: one\r", "", "\ndata: two\r\n\r", "", "\n"].flatMap((text) => parser.push(bytes(text)))).toEqual([event("one\ntwo")])
  })

  test("invalid UTF-8 is replaced, not fatal", () => {
    expect(new SseParser().push(Uint8Array.from([...bytes("data: a"), 0xff, ...bytes("b\n\n")]))).toEqual([event("a\ufffdb")])
  })
})

function event(data: string): SseEvent {
  return { event: "", data }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
