import { expect, test } from "vitest"
import { drawRuntimes, type Row, withoutMeasures } from "./table.ts"

const ROW: Row = { name: "Deno", version: "2.9.6", command: "`deno run main.mjs`", startMs: 270, checks: 849 }

const compared = (row: Row): string => withoutMeasures(drawRuntimes([ROW, row]))

test("draws a row for each runtime", () => {
  expect(drawRuntimes([ROW]).split("\n")).toEqual([
    "| runtime | version | started as | checks | start |",
    "| --- | --- | --- | --- | --- |",
    "| Deno | 2.9.6 | `deno run main.mjs` | 849 | 0.3 s |",
  ])
})

test("a table with other versions and times is the same", () => {
  expect(compared({ ...ROW, version: "3.0.0", startMs: 9_000 })).toBe(compared(ROW))
})

test.each<Partial<Row>>([{ name: "Bun" }, { command: "`deno run -A main.mjs`" }, { checks: 848 }])("a table with %j is another one", (change) => {
  expect(compared({ ...ROW, ...change })).not.toBe(compared(ROW))
})
