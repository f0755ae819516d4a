/**
 * Makes the README's picture of a goal: `npx tsx scripts/picture-of-goal.ts`. The command line runs in a real terminal, given by `script` of
 * util-linux, and pursues a goal over a small program with two faults: the model asks before it changes a line, and a check runs after each
 * turn. Only the model is a script, behind an endpoint of this process. A run that differs from the picture in nothing but its durations
 * leaves the picture as it is. With `--check`, a run that differs in more is an error, and nothing is written.
 */
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { linesOf, rowsOf, svgOf } from "./terminal-picture.ts"

const ROOT = fileURLToPath(new URL("..", import.meta.url))
const PICTURE = join(ROOT, "docs/images/goal-run.svg")
const COLUMNS = 98
const OBJECTIVE = "Make the tests pass."
const CHECK = "node test.js"
/** The command as a person types it. The flags that name the endpoint are left out. */
const PROMPT = `\u001b[2m$\u001b[22m \u001b[1mnpx turn-machine goal --edit --check "${CHECK}" --budget-tokens 20000 "${OBJECTIVE}"\u001b[22m\r\n\r\n`

const FILES = {
  "cart.js": `/** The price of a cart in cents. */
export function total(items, coupon) {
  let sum = 0
  for (let i = 0; i < items.length - 1; i += 1) sum += items[i].price
  if (coupon) sum -= coupon.percent
  return sum
}
`,
  "test.js": `import { total } from "./cart.js"

const items = [{ price: 1000 }, { price: 500 }]
const cases = [
  ["adds every item", total(items), 1500],
  ["takes a coupon off", total(items, { percent: 10 }), 1350],
]
const failed = cases.filter(([, found, expected]) => found !== expected)
for (const [name, found, expected] of failed) console.log(\`\${name}: expected \${expected}, found \${found}\`)
process.exit(failed.length > 0 ? 1 : 0)
`,
  "package.json": '{ "type": "module" }\n',
}

/** What the model answers, by the number of its earlier answers. */
const ANSWERS: readonly { readonly text: string; readonly calls?: readonly (readonly [string, object])[] }[] = [
  {
    text: "I read the code and its tests.",
    calls: [
      ["read_file", { path: "cart.js" }],
      ["read_file", { path: "test.js" }],
    ],
  },
  {
    text: "The loop ends one item early.",
    calls: [
      [
        "replace_line",
        {
          path: "cart.js",
          line: 4,
          oldText: "  for (let i = 0; i < items.length - 1; i += 1) sum += items[i].price",
          newText: "  for (const item of items) sum += item.price",
        },
      ],
    ],
  },
  { text: "Every item counts now." },
  {
    text: "The coupon takes off cents, not percent.",
    calls: [
      [
        "replace_line",
        {
          path: "cart.js",
          line: 5,
          oldText: "  if (coupon) sum -= coupon.percent",
          newText: "  if (coupon) sum -= Math.round((sum * coupon.percent) / 100)",
        },
      ],
    ],
  },
  { text: "Both faults are repaired.", calls: [["update_goal", { status: "complete" }]] },
  { text: "The cart adds every item, and a coupon takes its percentage off." },
]

interface Endpoint {
  readonly url: string
  close(): void
}

/** An endpoint for Chat Completions whose model follows the script. */
async function scriptedEndpoint(): Promise<Endpoint> {
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (data: Buffer) => {
      body += data.toString()
    })
    request.on("end", () => {
      if (request.method === "GET") {
        response.writeHead(404).end()
        return
      }
      const { messages } = JSON.parse(body) as { readonly messages: readonly { readonly role: string }[] }
      const number = messages.filter(({ role }) => role === "assistant").length
      const { text, calls = [] } = ANSWERS[number] ?? { text: "" }
      const toolCalls = calls.map(([name, args], index) => ({
        id: `call_${number}${"ab"[index]}`,
        type: "function",
        function: { name, arguments: JSON.stringify(args) },
      }))
      const message = { role: "assistant", content: text, ...(toolCalls.length > 0 && { tool_calls: toolCalls }) }
      // A prompt cache has what the request before had.
      const [tokens, cached] = [900 + 140 * messages.length, number === 0 ? 0 : 760 + 140 * messages.length]
      const usage = { prompt_tokens: tokens, completion_tokens: 30 + text.length, prompt_tokens_details: { cached_tokens: cached } }
      const finish = toolCalls.length > 0 ? "tool_calls" : "stop"
      response.setHeader("content-type", "application/json").end(JSON.stringify({ choices: [{ index: 0, finish_reason: finish, message }], usage }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, close: () => server.close() }
}

/** Runs the goal in a terminal, approves all changes at the first question, and returns what the terminal received. */
async function goalRun(folder: string, states: string, url: string): Promise<string> {
  const args = [
    "goal",
    "--edit",
    "--check",
    CHECK,
    "--budget-tokens",
    "20000",
    "--base-url",
    url,
    "--model",
    "scripted",
    "--context-tokens",
    "off",
    OBJECTIVE,
  ]
  const words = [process.execPath, "--import", import.meta.resolve("tsx"), join(ROOT, "src/cli/main.ts"), ...args]
  const command = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ")
  // One width on every machine: the default is that of the terminal in which the picture is made.
  const child = spawn("script", ["-qec", `stty cols ${COLUMNS} rows 200; exec ${command}`, "/dev/null"], {
    cwd: folder,
    env: { PATH: process.env["PATH"], HOME: states, XDG_STATE_HOME: states, TERM: "xterm", LANG: "C.UTF-8" },
    stdio: "pipe",
  })
  let output = ""
  let asked = 0
  child.stdout.setEncoding("utf8").on("data", (data: string) => {
    output += data
    const questions = output.split("\n? ").length - 1
    if (questions > asked) child.stdin.write("a")
    asked = questions
  })
  const exitCode = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve))
  if (exitCode !== 0) throw new Error(`The goal ended with ${String(exitCode)}:\n${output}`)
  return output
}

/** What must be the same in two runs: the lines, without durations, in any order, because two calls of one batch may end in any order. */
function comparable(svg: string): string {
  return linesOf(svg)
    .map((line) => line.replaceAll(/\d+(?:\.\d+)? (?:ms|s|min)\b/g, "TIME").replaceAll(/ +/g, " "))
    .sort()
    .join("\n")
}

async function picture(): Promise<string> {
  // A fixed place, because the picture shows it.
  const folder = "/tmp/shop"
  mkdirSync(folder)
  const states = mkdtempSync(join(tmpdir(), "turn-machine-picture-"))
  const endpoint = await scriptedEndpoint()
  try {
    for (const [name, content] of Object.entries(FILES)) writeFileSync(join(folder, name), content)
    const port = new URL(endpoint.url).port
    const output = (await goalRun(folder, states, endpoint.url)).replaceAll(`127.0.0.1:${port}`, "127.0.0.1:8080")
    const rows = [...rowsOf(PROMPT + output)]
    while (rows.at(-1)?.length === 0) rows.pop()
    return svgOf(rows, { columns: COLUMNS, title: "A goal in a terminal: it asks before it changes a line, and is complete when its check passes" })
  } finally {
    endpoint.close()
    rmSync(folder, { recursive: true, force: true })
    rmSync(states, { recursive: true, force: true })
  }
}

const before = ((): string => {
  try {
    return readFileSync(PICTURE, "utf8")
  } catch {
    return ""
  }
})()
const svg = await picture()
if (comparable(svg) === comparable(before)) console.log("The picture shows what a goal shows.")
else if (process.argv.includes("--check")) {
  console.error(`docs/images/goal-run.svg does not show what a goal shows now. Make it again with: npm run screenshots\n\n${linesOf(svg).join("\n")}`)
  process.exitCode = 1
} else {
  writeFileSync(PICTURE, svg)
  console.log("Wrote docs/images/goal-run.svg.")
}
