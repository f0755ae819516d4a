import { readFileSync } from "node:fs"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import * as z from "zod"
import { generatedFiles } from "../../scripts/generate-checks.ts"
import { parseLine, parseRecord, read } from "../../src/checks/checking.ts"
import * as judge from "../../src/checks/generated/judge.ts"
import * as records from "../../src/checks/generated/records.ts"
import * as turn from "../../src/checks/generated/turn.ts"
import { type Check, MOST_ISSUES } from "../../src/checks/reading.ts"
import { threadLineValidation } from "../../src/checks/records.ts"
import type { SchemaError } from "../../src/errors.ts"
import { DriverAction } from "../../src/schemas/action.ts"
import { Decision } from "../../src/schemas/approval.ts"
import { ChecklistPolicy, ChecklistState, JudgeCheckpoint, JudgedTurn } from "../../src/schemas/checklist.ts"
import { TurnCheckpoint } from "../../src/schemas/checkpoint.ts"
import { TurnConfigData, TurnStart } from "../../src/schemas/config.ts"
import { GoalCheckResult, GoalCommand } from "../../src/schemas/goal.ts"
import { JournalRecord } from "../../src/schemas/journal.ts"
import { Response } from "../../src/schemas/response.ts"
import { ThreadRecord } from "../../src/schemas/thread.ts"
import { ROOT } from "../built.ts"
import { check, FACTOR, SLOW } from "../properties/check.ts"
import { changed, oddAtEveryPlace, valid } from "./random-values.ts"

const PAIRS: readonly (readonly [name: string, check: Check, schema: z.ZodType])[] = [
  ["response", turn.response, Response],
  ["actions", turn.driverActions, z.array(DriverAction)],
  ["start", turn.turnStart, TurnStart],
  ["config", turn.turnConfigData, TurnConfigData],
  ["checkpoint", turn.turnCheckpoint, TurnCheckpoint],
  ["decision", turn.decision, Decision],
  ["journal record", records.journalRecord, JournalRecord],
  ["thread record", records.threadRecord, ThreadRecord],
  ["goal command", records.goalCommand, GoalCommand],
  ["result of a goal's check", records.goalCheckResult, GoalCheckResult],
  ["checklist policy", judge.checklistPolicy, ChecklistPolicy],
  ["judged turn", judge.judgedTurn, JudgedTurn],
  ["judge's checkpoint", judge.judgeCheckpoint, JudgeCheckpoint],
  ["checklist's state", judge.checklistState, ChecklistState],
]

/** What a check says about a value: its copy and the first key that this does not have, its issues, or that it cannot be read. */
type Result =
  | { readonly copy: unknown; readonly text: string; readonly unknown: string | undefined }
  | { readonly issues: readonly { readonly path: string; readonly message: string }[] }
  | "throws"

function bySchema(schema: z.ZodType, value: unknown): Result {
  return orThrows(() => {
    const parsed = schema.safeParse(value)
    if (parsed.success) return { copy: parsed.data, text: JSON.stringify(parsed.data), unknown: unknownIn(value, parsed.data) }
    const issues = parsed.error.issues.map(({ path, message }) => ({ path: path.map((key) => `/${String(key)}`).join(""), message }))
    return { issues: issues.slice(0, MOST_ISSUES) }
  })
}

function byCheck(ours: Check, value: unknown): Result {
  return orThrows(() => {
    const result = read(ours, value)
    if (!result.ok) return { issues: result.issues }
    return { copy: result.value, text: JSON.stringify(result.value), unknown: refusedKey(ours, value) }
  })
}

/** The text shows the keys of the copy in their order. */
function orThrows(act: () => Result): Result {
  try {
    return act()
  } catch {
    return "throws"
  }
}

function refusedKey(ours: Check, value: unknown): string | undefined {
  try {
    parseRecord(ours, value, "value")
    return undefined
  } catch (error) {
    const [issue] = (error as SchemaError).issues
    return issue?.message === "unknown key" ? issue.path : String(error)
  }
}

/** A value as it is read from a file; null, if it has no JSON text. */
function throughJson(value: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(value))
  } catch {
    return null
  }
}

/** The path of the first own key of an object that its copy does not have. Free JSON is in the copy by reference. A list has only its items. */
function unknownIn(value: unknown, copy: unknown): string | undefined {
  if (value === copy || typeof value !== "object" || value === null) return undefined
  const keys = Array.isArray(value) ? Array.from(value, (_, index) => String(index)) : Object.keys(value)
  for (const key of keys) {
    if (!Object.hasOwn(copy as object, key)) return `/${key}`
    const inner = unknownIn(value[key as never], (copy as object)[key as never])
    if (inner !== undefined) return `/${key}${inner}`
  }
  return undefined
}

describe("the generated checks", () => {
  test("are up to date with the schemas: npm run checks", () => {
    for (const [path, text] of Object.entries(generatedFiles())) expect(readFileSync(join(ROOT, path), "utf8") === text, path).toBe(true)
  })

  test.each(PAIRS)("accept what the schema accepts: %s", SLOW, (_name, ours, schema) => {
    check(
      300,
      fc.property(valid(schema), (value) => {
        expect(byCheck(ours, value)).toEqual(bySchema(schema, value))
        expect(byCheck(ours, value)).toHaveProperty("copy")
      }),
    )
  })

  test.each(PAIRS)("say of any value what the schema says: %s", SLOW, (_name, ours, schema) => {
    check(
      1_000,
      fc.property(changed(schema), ({ value }) => {
        expect(byCheck(ours, value)).toEqual(bySchema(schema, value))
        expect(Object.keys(Object.prototype)).toEqual([])
      }),
    )
  })

  test.each(PAIRS)("say of every odd value at every place what the schema says: %s", SLOW, (_name, ours, schema) => {
    // The fast lane tries one in thirteen.
    const step = FACTOR < 1 ? 13 : 1
    let count = 0
    for (const value of oddAtEveryPlace(schema)) {
      count += 1
      if (count % step !== 0) continue
      const [found, expected] = [byCheck(ours, value), bySchema(schema, value)]
      if (!isDeepStrictEqual(found, expected)) expect(found).toEqual(expected)
    }
    expect(count).toBeGreaterThan(200)
  })

  test("return a copy, and free JSON itself", () => {
    const event = { any: [1] }
    const value = { type: "checkpoint_delivery", id: 1, delivery: { events: [event] } }
    const copy = read<Response>(turn.response, value)
    expect(copy).toEqual({ ok: true, value, isWhole: true })
    expect(copy.ok && copy.value).not.toBe(value)
    expect(copy.ok && copy.value.type === "checkpoint_delivery" && copy.value.delivery.events?.[0]).toBe(event)
  })

  test("stop after the first hundred issues", () => {
    const results = Object.assign([], { length: 2 ** 32 - 1 })
    const result = read(turn.response, { type: "tool_results", id: 1, results })
    expect(result).toMatchObject({ ok: false, issues: { length: MOST_ISSUES } })
  })

  test.each([
    ["journal record", records.journalRecord, JournalRecord],
    ["thread record", records.threadRecord, ThreadRecord],
  ] as const)("refuse of parsed JSON what they refuse of any value: %s", SLOW, (what, ours, schema) => {
    const said = (act: () => unknown): unknown => {
      try {
        act()
        return "accepted"
      } catch (error) {
        return (error as SchemaError).message
      }
    }
    const agree = (value: unknown): void => {
      const parsed = throughJson(value)
      expect(said(() => expect(parseLine(ours, parsed, what)).toBe(parsed))).toBe(said(() => parseRecord(ours, parsed, what)))
    }
    check(500, fc.property(valid(schema), agree))
    check(
      1_000,
      fc.property(changed(schema), ({ value }) => agree(value)),
    )
    // JSON.parse makes a key of that name.
    for (const text of ['{"type":"opened","__proto__":1}', '{"type":"opened","at":1,"__proto__":{"at":1}}', '{"type":"opened","toString":1}']) {
      const value: unknown = JSON.parse(text)
      expect(said(() => parseLine(records.journalRecord, value, what))).toContain("unknown key")
    }
  })

  test("a line that is valid is returned itself, and one with an unknown key is refused", () => {
    const record = { type: "happened", at: 1, event: "ci" }
    expect(threadLineValidation(record)).toBe(record)
    expect(() => threadLineValidation({ ...record, more: 1 })).toThrow('Not a valid thread record: unknown key at "/more".')
    expect(() => threadLineValidation({ ...record, at: "1" })).toThrow(
      'Not a valid thread record: "/at": Invalid input: expected number, received string.',
    )
  })
})
