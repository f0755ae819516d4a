import { describe, expect, test } from "vitest"
import { cutMiddle, isBlank, trim } from "../../src/text.ts"

/** Every code point with the Unicode property White_Space, as PropList.txt lists them. */
const WHITE_SPACE = [
  0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a,
  0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
]
/** Neighbours and look-alikes that are not. */
const NOT_WHITE_SPACE = [
  0x00, 0x08, 0x0e, 0x1b, 0x1c, 0x1f, 0x21, 0x84, 0x86, 0x9f, 0xa1, 0x180e, 0x1fff, 0x200b, 0x200c, 0x200d, 0x2060, 0x2800, 0x3164, 0xfeff,
]

const name = (point: number): string => `U+${point.toString(16).toUpperCase().padStart(4, "0")}`

describe("white space is what Unicode calls White_Space", () => {
  test.each(WHITE_SPACE.map((point) => [name(point), String.fromCodePoint(point)]))("%s is", (_, space) => {
    expect(isBlank(space)).toBe(true)
    expect(trim(`${space}a${space}b${space}`)).toBe(`a${space}b`)
    expect(trim(space)).toBe("")
  })

  test.each(NOT_WHITE_SPACE.map((point) => [name(point), String.fromCodePoint(point)]))("%s is not", (_, other) => {
    expect(isBlank(other)).toBe(false)
    expect(trim(` ${other} `)).toBe(other)
  })

  test("an empty text is blank, one letter makes it not", () => {
    expect(isBlank("")).toBe(true)
    expect(isBlank(" \n\t ")).toBe(true)
    expect(isBlank(" \n.\t ")).toBe(false)
    expect(trim("")).toBe("")
    expect(trim("a")).toBe("a")
    expect(trim(" a")).toBe("a")
    expect(trim("a ")).toBe("a")
  })
})

describe("cutMiddle", () => {
  test("a text within the limit stays as it is", () => {
    expect(cutMiddle("", 4)).toBe("")
    expect(cutMiddle("abcd", 4)).toBe("abcd")
  })

  test("a longer one keeps half the limit at each end and says how much is left out", () => {
    expect(cutMiddle("abcdefghij", 4)).toBe("ab\n\n... (6 chars omitted) ...\n\nij")
  })

  test("an odd limit rounds each half down", () => {
    expect(cutMiddle("abcdefghij", 5)).toBe("ab\n\n... (6 chars omitted) ...\n\nij")
  })

  test("counts code points, not UTF-16 units, and never splits a pair", () => {
    expect(cutMiddle("😀😀😀😀", 4)).toBe("😀😀😀😀")
    expect(cutMiddle("😀😁😂😃😄", 4)).toBe("😀😁\n\n... (1 chars omitted) ...\n\n😃😄")
  })

  test("a lone surrogate counts as one", () => {
    expect(cutMiddle("\ud800b\udc00", 3)).toBe("\ud800b\udc00")
    expect(cutMiddle("\ud800bcd\udc00", 4)).toBe("\ud800b\n\n... (1 chars omitted) ...\n\nd\udc00")
  })
})
