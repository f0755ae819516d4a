import { join } from "node:path"
import ts from "typescript"
import { beforeAll, describe, expect, test } from "vitest"

/** What the compiler and an editor show to a person in the first hour. Each line is compiled by itself, after the head. */
const HEAD = `
import { chatDriver, chatProjector, userMessage, TurnMachine, type DriverContext, type LlmRequest, type LlmResponse, type Message, type TurnConfig } from "../../src/index.ts"
import type { Toolbox, Tool } from "../../src/hosts/index.ts"
declare const box: Toolbox
declare const tool: Tool
declare const config: TurnConfig
const usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, reasoningTokens: 0 }
const part = { type: "text", text: "hi" }
const message = { id: "u", role: "user", parts: [] }
`

const MISTAKES: readonly (readonly [what: string, line: string, message: string])[] = [
  [
    "a toolbox instead of its specs",
    "const c1: TurnConfig = { ...config, tools: box }",
    "Type 'Toolbox' is missing the following properties from type 'readonly ToolSpec[]': length, concat, join, slice, and … more.",
  ],
  [
    "a bare tool",
    "const c2: TurnConfig = { ...config, tools: [tool] }",
    "Type 'Tool<string>' is missing the following properties from type 'ToolSpec': name, description, inputSchema",
  ],
  [
    "a response without usage",
    'const r1: LlmResponse = { text: "", parts: [], terminalReason: "stop" }',
    "Property 'usage' is missing in type '{ text: string; parts: never[]; terminalReason: \"stop\"; }' but required in type 'LlmResponse'.",
  ],
  [
    "a message without `as const`",
    "new TurnMachine(config, { messages: [message] })",
    "Type '{ id: string; role: string; parts: never[]; }' is not assignable to type 'Message'. Types of property 'role' are incompatible. Type 'string' is not assignable to type 'Role'.",
  ],
  [
    "a part without `as const`",
    'const r2: LlmResponse = { text: "", parts: [part], usage, terminalReason: "stop" }',
    "Type '{ type: string; text: string; }' is not assignable to type 'OutputPart'. Type '{ type: string; text: string; }' is not assignable to type 'ReasoningBlock'. Type '{ type: string; text: string; }' is not assignable to type '{ readonly type: \"reasoning\"; readonly text: string; readonly replay?: ReasoningReplay | undefined; }'. Types of property 'type' are incompatible. Type 'string' is not assignable to type '\"reasoning\"'.",
  ],
  [
    "a driver that was not called",
    "const c3: TurnConfig = { ...config, driver: chatDriver }",
    "Type '(options?: ChatDriverOptions) => ProtocolDriver' is not assignable to type 'ProtocolDriver'.",
  ],
  ["a projector that was called", "const c4 = chatProjector()", "Expected 1 arguments, but got 0."],
  [
    "a misspelt key",
    "const c5: TurnConfig = { ...config, maxIteration: 3 }",
    "Object literal may only specify known properties, but 'maxIteration' does not exist in type 'TurnConfig'. Did you mean to write 'maxIterations'?",
  ],
]

/** Members whose hover has to explain them, and values whose hover has to be short. */
const HOVERED = ["TurnConfig", "LlmResponse", "Message", "LlmRequest"] as const

const FILE = join(import.meta.dirname, "first-hour.ts")
let program: ts.Program
let source: ts.SourceFile

beforeAll(() => {
  const text = `${HEAD}${MISTAKES.map(([, line]) => line).join("\n")}
declare const context: DriverContext
export const fine = [userMessage("hi"), chatDriver(), context.events.at(0)]
export type Hovered = { ${HOVERED.map((name) => `${name}: ${name}`).join("; ")} }
declare const json: import("../../src/index.ts").Json
export const list = [json]
export const request: LlmRequest["tools"] = []
`
  const options: ts.CompilerOptions = {
    strict: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts"],
    types: [],
    noEmit: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
  }
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists, getSourceFile } = host
  host.fileExists = (name) => name === FILE || fileExists(name)
  host.readFile = (name) => (name === FILE ? text : readFile(name))
  host.getSourceFile = (name, ...rest) =>
    name === FILE ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true) : getSourceFile(name, ...rest)
  program = ts.createProgram([FILE], options, host)
  source = program.getSourceFile(FILE) as ts.SourceFile
})

describe("the compiler's message for", () => {
  test.each(MISTAKES)("%s", (_what, line, message) => {
    const at = source.text.indexOf(line)
    const found = program.getSemanticDiagnostics(source).filter(({ start = -1 }) => start >= at && start < at + line.length)
    expect(
      found.map(({ messageText }) =>
        ts
          .flattenDiagnosticMessageText(messageText, " ")
          .replace(/\s+/g, " ")
          .replace(/and \d+ more/, "and … more"),
      ),
    ).toEqual([message])
  })

  test("nothing else", () => {
    expect(program.getSemanticDiagnostics(source)).toHaveLength(MISTAKES.length)
  })
})

describe("a hover", () => {
  test.each(HOVERED)("explains every member of %s", (name) => {
    const checker = program.getTypeChecker()
    const members = checker.getTypeAtLocation(nodeOf(`${name}: ${name}`)).getProperties()
    expect(members.length).toBeGreaterThan(3)
    const silent = members.filter((member) => ts.displayPartsToString(member.getDocumentationComment(checker)) === "")
    expect(silent.map((member) => member.getName())).toEqual([])
  })

  test("names a type of JSON, and does not expand it", () => {
    const checker = program.getTypeChecker()
    expect(checker.typeToString(checker.getTypeAtLocation(nodeOf("list = ")))).toBe("Json[]")
    expect(checker.typeToString(checker.getTypeAtLocation(nodeOf("request: ")))).toBe("readonly ToolSpec[]")
  })
})

/** The node that begins at a text. */
function nodeOf(text: string): ts.Node {
  const at = source.text.indexOf(text)
  const find = (node: ts.Node): ts.Node | undefined =>
    ts.forEachChild(node, (child) => (child.end > at && child.pos <= at ? find(child) : undefined)) ?? node
  return find(source) as ts.Node
}
