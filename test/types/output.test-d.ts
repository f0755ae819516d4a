import { describe, expectTypeOf, test } from "vitest"
import * as z from "zod"
import { chatDriver } from "../../src/drivers/chat.ts"
import { type OutputSchema, outputOf } from "../../src/drivers/output.ts"
import { defineOutput } from "../../src/hosts/tools/define-output.ts"
import type { TurnMachine } from "../../src/validated-turn-machine.ts"
import type { Done } from "../../src/wire/effect.ts"

declare const done: Done
declare const machine: TurnMachine

describe("the value of a turn", () => {
  test("has the type that the schema gives", () => {
    const invoice = defineOutput({ schema: z.object({ customer: z.string(), due: z.iso.date().pipe(z.coerce.date()), note: z.string().optional() }) })
    expectTypeOf(outputOf(done, invoice)).toEqualTypeOf<{ customer: string; due: Date; note?: string | undefined } | undefined>()
    expectTypeOf(outputOf(machine, invoice)).toEqualTypeOf<{ customer: string; due: Date; note?: string | undefined } | undefined>()
  })

  test("has the type of a check that is written by hand", () => {
    const city: OutputSchema<"Oslo"> = { name: "city", jsonSchema: {}, check: () => ({ ok: true, value: "Oslo" }) }
    expectTypeOf(outputOf(done, city)).toEqualTypeOf<"Oslo" | undefined>()
    chatDriver({ output: city })
  })

  test("needs a form, and not a schema", () => {
    // @ts-expect-error a schema has to be wrapped
    chatDriver({ output: z.object({ a: z.string() }) })
    // @ts-expect-error the mode is one of two
    chatDriver({ outputMode: "json" })
  })
})
