// What the test files import as "vitest" in a mutation run: it collects their tests, so that they can be run many times in one process.
import * as assertions from "@vitest/expect"
import * as spies from "@vitest/spy"
import * as chai from "chai"

chai.use(assertions.JestExtend)
chai.use(assertions.JestChaiExpect)
chai.use(assertions.JestAsymmetricMatchers)
export const expect = (value, message) => chai.expect(value, message)
Object.assign(expect, chai.expect, globalThis[assertions.ASYMMETRIC_MATCHERS_OBJECT])
globalThis[assertions.GLOBAL_EXPECT] = expect
assertions.setState({ assertionCalls: 0, isExpectingAssertions: false, expectedAssertionsNumber: null }, expect)

export const vi = { spyOn: spies.spyOn, fn: spies.fn, restoreAllMocks: spies.restoreAllMocks }

/** @type {{ id: string, file: string, run: () => unknown }[]} */
export const collected = []
let path = []

/** Collects the tests of a file while `load` loads it. */
export async function collect(file, load) {
  path = [file]
  await load()
}

export function test(name, ...rest) {
  const run = rest.find((given) => typeof given === "function")
  const [file] = path
  const title = `${file}#${[...path.slice(1), name].join(" ")}`
  const twins = collected.filter(({ id }) => id === title || id.startsWith(`${title} (`)).length
  collected.push({ id: twins === 0 ? title : `${title} (${twins + 1})`, file, run })
}
test.each = eachOf(test)
test.skip = () => {}
test.runIf = (runs) => (runs ? test : test.skip)
test.skipIf = (skips) => (skips ? test.skip : test)
export const it = test

export function describe(name, ...rest) {
  path.push(name)
  rest.find((given) => typeof given === "function")()
  path.pop()
}
describe.each = eachOf(describe)
describe.skip = () => {}

// Tests that need these are not run for mutants.
export const beforeEach = unsupported("beforeEach")
export const afterEach = unsupported("afterEach")
export const beforeAll = unsupported("beforeAll")
export const afterAll = unsupported("afterAll")

function eachOf(one) {
  return (cases) =>
    (name, ...rest) => {
      const run = rest.find((given) => typeof given === "function")
      for (const [index, row] of cases.entries()) one(`${name} [${index}]`, () => run(...(Array.isArray(row) ? row : [row])))
    }
}

function unsupported(name) {
  return () => {
    throw new Error(`Test files of a mutation run do not use ${name}.`)
  }
}
