/** The part of vitest that the rules of the stores use, for a Durable Object: the real `expect`, and cases that are run by their number. */
import { JestAsymmetricMatchers, JestChaiExpect, JestExtend } from "@vitest/expect"
import * as chai from "chai"

export interface Case {
  readonly name: string
  readonly run: () => unknown
}

export const CASES: Case[] = []

export function describe(_name: string, register: () => void): void {
  register()
}

export function test(name: string, run: () => unknown): void {
  CASES.push({ name, run })
}

test.each =
  (cases: readonly unknown[]) =>
  (name: string, run: (...args: readonly unknown[]) => unknown): void => {
    for (const each of cases) {
      const args: readonly unknown[] = Array.isArray(each) ? each : [each]
      CASES.push({ name: `${name} ${JSON.stringify(args[0])}`, run: () => run(...args) })
    }
  }

chai.use(JestExtend)
chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)

export const expect = Object.assign((value: unknown) => chai.expect(value), chai.expect)
