import { describe, expect, it } from "vitest"
import { didYouMean, readArgs, readCount } from "../../src/cli/terminal/args.ts"
import { clause, cutText, formatBytes, formatCount, formatDuration, oneLine, plainText, plural, sentence } from "../../src/cli/terminal/format.ts"
import { Wrap } from "../../src/cli/terminal/wrap.ts"
import { byCodePoint } from "../../src/cli/workspace/code-points.ts"

describe("formatted numbers", () => {
  it.each([
    [formatCount(0), "0"],
    [formatCount(999), "999"],
    [formatCount(1_234_567), "1,234,567"],
    [plural(1, "file"), "1 file"],
    [plural(0, "file"), "0 files"],
    [plural(2, "match", "matches"), "2 matches"],
    [formatBytes(999), "999 B"],
    [formatBytes(1_000), "1.0 kB"],
    [formatBytes(12_345), "12 kB"],
    [formatBytes(9_960), "10 kB"],
    [formatBytes(999_499), "999 kB"],
    [formatBytes(999_500), "1.0 MB"],
    [formatBytes(2_500_000), "2.5 MB"],
    [formatBytes(3_225_000_000), "3.2 GB"],
    [formatBytes(7_000_000_000_000), "7.0 TB"],
    [formatDuration(4.4), "4 ms"],
    [formatDuration(999.6), "1.0 s"],
    [formatDuration(1_240), "1.2 s"],
    [formatDuration(59_960), "1 min 0 s"],
    [formatDuration(185_000), "3 min 5 s"],
  ])("%s", (shown, expected) => {
    expect(shown).toBe(expected)
  })
})

describe("text for a terminal", () => {
  it("is cut with an ellipsis, without splitting a surrogate pair", () => {
    expect(cutText("abcdef", 6)).toBe("abcdef")
    expect(cutText("abcdefg", 6)).toBe("abcde…")
    expect(cutText("abcd\u{1f600}fg", 6)).toBe("abcd…")
    expect(cutText("abc\u{1f600}fg", 6)).toBe("abc\u{1f600}…")
  })

  it("cannot move the cursor, change colours or reverse its direction", () => {
    expect(plainText("a\u001b[31mb\r\nc\td\u009b0m\u202ee\u0000")).toBe("a\ufffd[31mb\nc\td\ufffd0m\ufffde\ufffd")
    expect(oneLine("  a\n\n b\t\u0007 ")).toBe("a b \ufffd")
  })

  it("becomes a clause or a sentence", () => {
    expect(["The log is empty.", "Record 2 is\ndamaged.", '"a" is missing.', "JSON is required."].map(clause)).toEqual([
      "the log is empty",
      "record 2 is damaged",
      '"a" is missing',
      "JSON is required",
    ])
    expect(["nothing is left", "Nothing is left.", "why?", ""].map(sentence)).toEqual(["Nothing is left.", "Nothing is left.", "Why?", "."])
  })

  it("is wrapped between words, in whichever pieces it arrives", () => {
    const wrap = (...pieces: readonly string[]): string => {
      const wrapper = new Wrap(12, "  ", 2)
      return pieces.map((piece) => wrapper.add(piece)).join("")
    }
    expect(wrap("one two three four")).toBe("one two\n  three four")
    expect(wrap("one two", " three", " fo", "ur")).toBe("one two\n  three four")
    expect(wrap("one two th", "ree four")).toBe("one two three\n  four")
    expect(wrap("one\ntwo   \n\nthree")).toBe("one\n  two\n\n  three")
    expect(wrap("a-very-long-word and another")).toBe("a-very-long-word\n  and\n  another")
    expect(new Wrap(0, "  ", 2).add("one two three four five six")).toBe("one two three four five six")
  })

  it("is wrapped between ideographs, but not before what closes or after what opens", () => {
    const wrap = (...pieces: readonly string[]): string => {
      const wrapper = new Wrap(12, "  ", 2)
      return pieces.map((piece) => wrapper.add(piece)).join("")
    }
    expect(wrap("我看一下這個資料夾")).toBe("我看一下這\n  個資料夾")
    expect(wrap("我看", "一下這", "個資", "料夾")).toBe("我看一下這\n  個資料夾")
    expect(wrap("我看一下這。個")).toBe("我看一下\n  這。個")
    expect(wrap("我看一下「這」")).toBe("我看一下\n  「這」")
    expect(wrap("我 cart.js 看")).toBe("我 cart.js\n  看")
    expect(wrap("我看cart.js,看")).toBe("我看\n  cart.js,看")
    // Korean has spaces.
    expect(wrap("한국어 텍스트도 있습니다")).toBe("한국어\n  텍스트도\n  있습니다")
  })

  it("has no line breaks before its first word or after its last one", () => {
    const wrapper = new Wrap(12, "  ", 2)
    expect(["\n\n one", "\n", "\n  two", "\n\n"].map((piece) => wrapper.add(piece))).toEqual(["one", "", "\n\n    two", ""])
  })

  it("is wrapped to the width that the terminal has now", () => {
    let width = 12
    const wrapper = new Wrap(() => width, "", 0)
    expect(wrapper.add("one two three")).toBe("one two\nthree")
    width = 20
    expect(wrapper.add(" four five six seven")).toBe(" four five six\nseven")
  })
})

describe("byCodePoint", () => {
  it("compares characters, not UTF-16 code units", () => {
    expect(["\u{1f600}", "\uffee", "b", "B", "ba", "", "\ud7ff", "\ud800"].sort(byCodePoint)).toEqual([
      "",
      "B",
      "b",
      "ba",
      "\ud7ff",
      "\uffee",
      "\ud800",
      "\u{1f600}",
    ])
  })
})

describe("flags", () => {
  const SPECS = { dir: { type: "string" }, json: { type: "boolean", short: "j" } } as const

  it("are parsed before, between and after words", () => {
    expect(readArgs(["--json", "do", "--dir=a b", "it"], SPECS, "help")).toEqual({ values: { json: true, dir: "a b" }, words: ["do", "it"] })
    expect(readArgs(["-j", "--dir", "x", "--dir", "y", "--", "--json"], SPECS, "help")).toEqual({
      values: { json: true, dir: "y" },
      words: ["--json"],
    })
  })

  it("need an equals sign before a value that starts with a dash", () => {
    expect(() => readArgs(["--dir", "-x"], SPECS, "help")).toThrow("--dir needs a value. See: help")
    expect(readArgs(["--dir=-x"], SPECS, "help").values).toEqual({ dir: "-x" })
  })

  it("suggest the nearest flag for a typo, if one is near", () => {
    expect(didYouMean("--jsn", ["--dir", "--json"])).toBe(" Did you mean --json?")
    expect(didYouMean("--josn", ["--dir", "--json"])).toBe(" Did you mean --json?")
    expect(didYouMean("--DIR", ["--dir", "--json"])).toBe(" Did you mean --dir?")
    expect(didYouMean("--something", ["--dir", "--json"])).toBe("")
  })

  it("that take a whole number reject any other text", () => {
    expect(readCount("--n", "7", 1, 10)).toBe(7)
    for (const text of ["", "0", "11", "-1", "1e1", " 7", "0x7", "7.0", "9".repeat(400)])
      expect(() => readCount("--n", text, 1, 10)).toThrow("--n takes a whole number from 1 to 10")
  })
})
