import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { loadClient } from "../../src/cli/mcp/client-package.ts"
import { type McpFlags, resolveMcp } from "../../src/cli/mcp/mcp-settings.ts"
import { nameOfCommand, prefixOf } from "../../src/cli/mcp/server-names.ts"
import { fill, newFolder } from "./harness.ts"

// Which servers the flags mean. mcp-process.test.ts starts some.

test.each<readonly [readonly [string, ...string[]], string | undefined]>([
  [["npx", "-y", "@modelcontextprotocol/server-filesystem", "."], "filesystem"],
  [["npx", "-y", "@modelcontextprotocol/server-filesystem@2026.8.31"], "filesystem"],
  [["node", "node_modules/@modelcontextprotocol/server-everything/dist/index.js", "stdio"], "everything"],
  [["/usr/bin/node", "./tools/git.mjs"], "git"],
  [["uvx", "mcp-server-git", "--repository", "."], "git"],
  [["uv", "run", "weather.py"], "weather"],
  [["pnpm", "dlx", "brave-search-mcp"], "brave-search"],
  [["github-mcp-server", "stdio"], "github"],
  [["npx", "mcp-remote"], "remote"],
  [["server"], undefined],
  [["node"], undefined],
])("%j is named %s", (command, name) => expect(nameOfCommand(command)).toBe(name))

test.each([
  ["Größe lesen", "Gro_e_lesen"],
  ["my server", "my_server"],
  ["a__b", "a_b"],
  ["_x_", "x"],
  ["工具", undefined],
  ["x".repeat(40), "x".repeat(32)],
])("the name %s begins tools as %s", (name, prefix) => expect(prefixOf(name)).toBe(prefix))

async function resolved(flags: McpFlags, env: Record<string, string> = {}) {
  return resolveMcp(flags, { cwd: newFolder(), env })
}

describe("--mcp", () => {
  test("is a command, a URL, or either with a name", async () => {
    const { servers, fields } = await resolved({
      mcp: ["node ./a.js --x 'y z'", "docs=node b.js", "https://mcp.example.com/v1", "web=http://127.0.0.1:1/"],
    })
    expect(servers).toEqual([
      { type: "process", name: "a", command: "node", args: ["./a.js", "--x", "y z"], env: {} },
      { type: "process", name: "docs", command: "node", args: ["b.js"], env: {} },
      { type: "http", name: "mcp_example_com", url: "https://mcp.example.com/v1", headers: {} },
      { type: "http", name: "web", url: "http://127.0.0.1:1/", headers: {} },
    ])
    expect(fields).toEqual({ mcp: ["node ./a.js --x 'y z'", "docs=node b.js", "https://mcp.example.com/v1", "web=http://127.0.0.1:1/"] })
  })

  test.each<readonly [string, readonly string[], RegExp]>([
    ["an empty command", [" "], /--mcp is empty/],
    ["a pipe", ["node a.js | tee x"], /a pipe, which only a shell understands/],
    ["two lines", ["node a.js\nrm x"], /one line/],
    ["one name twice", ["node a.js", "node b/a.js"], /Two MCP servers are named a/],
    [
      "a variable",
      ["API_KEY=key-0123456789 node a.js"],
      /^--mcp begins with API_KEY=, which looks like a variable and not like the name of a server/,
    ],
    ["a key", ["TOKEN=key-0123456789 node a.js"], /begins with TOKEN=[^0-9]*$/],
    ["a key in a URL", ["https://user:secret@mcp.example.com"], /user name or password/],
    ["no name", ["node"], /has no name that tools can begin with/],
    ["too many", Array.from({ length: 21 }, (_, index) => `node s${index}.js`), /at most 20 MCP servers/],
  ])("refuses %s", async (_what, mcp, message) => {
    await expect(resolved({ mcp })).rejects.toThrow(message)
    await expect(resolved({ mcp })).rejects.not.toThrow(/secret/)
  })
})

const VARIABLE = "$\u007bKEY}"

describe("--mcp-config", () => {
  async function ofFile(text: string, env: Record<string, string> = {}) {
    const folder = fill(newFolder(), { "mcp.json": text })
    return { folder, settings: await resolveMcp({ "mcp-config": "mcp.json" }, { cwd: folder, env }) }
  }
  const servers = (value: object): string => JSON.stringify({ mcpServers: value })

  test("has commands with their environment, and URLs with their headers", async () => {
    const url = "https://mcp.example.com/"
    const text = servers({
      files: { command: "npx", args: ["-y", "x"], env: { A: "1", B: VARIABLE }, cwd: "sub", autoApprove: ["*"] },
      issues: { type: "http", url, headers: { authorization: `Bearer ${VARIABLE}` } },
      off: { command: "none", disabled: true },
    })
    const { settings, folder } = await ofFile(text, { KEY: "k3y" })
    expect(settings.servers).toEqual([
      { type: "process", name: "files", command: "npx", args: ["-y", "x"], env: { A: "1", B: "k3y" }, cwd: "sub" },
      { type: "http", name: "issues", url, headers: { authorization: "Bearer k3y" } },
    ])
    expect(settings.fields).toEqual({ mcpConfig: join(folder, "mcp.json"), mcpConfigDigest: expect.stringMatching(/^[0-9a-f]{64}$/) })
  })

  test.each([
    ["no JSON", "{", /is not JSON/],
    ["a list", "[]", /is not a configuration of MCP servers/],
    ["no servers", servers({}), /has no servers/],
    ["a server without anything", servers({ a: {} }), /neither a command nor a url/],
    ["a server with both", servers({ a: { command: "x", url: "https://x" } }), /both a command and a url/],
    ["a command that is a list", servers({ a: { command: ["x"] } }), /at "mcpServers\/a\/command"/],
    ["the old transport", servers({ a: { type: "sse", url: "https://x" } }), /"sse", which MCP has replaced/],
    ["another protocol", servers({ a: { url: "file:///x" } }), /not an http or https URL/],
    ["a variable that is not set", servers({ a: { command: "x", env: { B: "$\u007bNOT_SET}" } } }), /NOT_SET, which is not set/],
    ["two names that become one", servers({ "a b": { command: "x" }, a_b: { command: "x" } }), /Two MCP servers are named a_b/],
  ])("refuses %s", async (_what, text, message) => {
    await expect(ofFile(text)).rejects.toThrow(message)
  })

  test("refuses a file that does not exist", async () => {
    await expect(resolved({ "mcp-config": "none.json" })).rejects.toThrow(/cannot be read: it does not exist/)
  })
})

test("without the client package, the command to install it is named", async () => {
  const missing = Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" })
  await expect(loadClient(() => Promise.reject(missing))).rejects.toThrow(/mcp_client_missing.*npm install @modelcontextprotocol\/client@2/)
  await expect(loadClient(() => Promise.reject(new Error("broken")))).rejects.toThrow("broken")
})
