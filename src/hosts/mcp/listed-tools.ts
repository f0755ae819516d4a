import type { Json } from "../../json.ts"
import { cutMiddle, quoted, textOf } from "../../text.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { messageOf } from "../run/failures.ts"
import { toJson } from "../run/plain-json.ts"
import { type McpClient, request } from "./client.ts"
import { hintsOf, type McpHints, withHints } from "./hints.ts"
import { McpToolboxError } from "./mcp-error.ts"
import { shownName } from "./names.ts"

/** How much a server may say. */
export interface McpLimits {
  /** How many tools are offered. Default 200: model APIs accept 128 or a few more. */
  readonly tools?: number
  /** UTF-16 units of a description; a longer one loses its middle. Default 4,000. */
  readonly descriptionChars?: number
  /** UTF-16 units of a schema as JSON. A tool with a longer one is left out. Default 50,000. */
  readonly schemaChars?: number
  /** UTF-16 units of a result, base64 included. A longer one fails the call. Default 20,000,000. */
  readonly resultChars?: number
}

export const DEFAULT_LIMITS: Required<McpLimits> = { tools: 200, descriptionChars: 4_000, schemaChars: 50_000, resultChars: 20_000_000 }

/** Why one tool of a server is left out. */
export interface McpProblem {
  /** The tool as the server names it, cut. */
  readonly tool: string
  readonly code: "invalid_name" | "invalid_schema" | "schema_too_long" | "duplicate_name" | "needs_tasks"
  readonly message: string
}

/** A tool of a server. */
export interface ListedTool {
  /** As the server names it. */
  readonly name: string
  readonly spec: ToolSpec
  readonly hints: McpHints
}

/** The tools of a server, and those that are left out. */
export interface ToolList {
  readonly tools: readonly ListedTool[]
  readonly problems: readonly McpProblem[]
}

/** Which tools are offered, by the server's names. */
export type McpAllow = readonly string[] | ((tool: { readonly name: string; readonly hints: McpHints }) => boolean)

export interface ListOptions {
  readonly prefix: string | undefined
  readonly allow: McpAllow | undefined
  readonly limits: Required<McpLimits>
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** No server needs more, and one may list pages without end. */
const MAX_PAGES = 200
const MAX_LISTED = 5_000
const MAX_TOOL_NAME = 1_000

/**
 * Reads all pages of a server's tools. A tool that no model can be shown is left out and reported: one bad tool does not take the others with it.
 * The tools are in the order of their names, so that a server without an order of its own does not change every request.
 * @throws {McpToolboxError} `list_failed`, `too_many_tools`, `unknown_tool`
 */
export async function listTools(client: McpClient, options: ListOptions): Promise<ToolList> {
  const listed = await allPages(client, options)
  const problems: McpProblem[] = []
  const byName = new Map<string, ListedTool>()
  const names = new Set<string>()
  for (const item of listed) {
    const found = readTool(item, options)
    if (!("code" in found)) names.add(found.name)
    else if (found.tool !== "") names.add(found.tool)
    if (!isAllowed(found, options.allow)) continue
    if ("code" in found) {
      problems.push(found)
      continue
    }
    const { name, spec } = found
    const other = byName.get(spec.name)
    if (other === undefined) byName.set(spec.name, found)
    else {
      const message = other.name === name ? "The server lists it twice." : `The name ${quoted(spec.name)} is also that of ${quoted(other.name)}.`
      problems.push({ tool: shortName(name), code: "duplicate_name", message })
    }
  }
  refuseMissing(options.allow, names)
  const { tools: max } = options.limits
  if (byName.size > max)
    throw new McpToolboxError(
      "too_many_tools",
      `The MCP server has ${byName.size} tools, and at most ${max} are offered. Name those you need in allow, or raise limits.tools.`,
    )
  return { tools: [...byName.values()].sort(byShownName), problems }
}

async function allPages(client: McpClient, { timeoutMs, signal }: ListOptions): Promise<readonly unknown[]> {
  const all: unknown[] = []
  const cursors = new Set<string>()
  let cursor: string | undefined
  for (let page = 1; ; page += 1) {
    const { tools, nextCursor } = await onePage(client, cursor, { timeoutMs, signal })
    all.push(...tools)
    if (all.length > MAX_LISTED)
      throw new McpToolboxError("too_many_tools", `The MCP server lists more than ${MAX_LISTED.toLocaleString("en")} tools, which no model can use.`)
    if (nextCursor === undefined) return all
    if (cursors.has(nextCursor) || page === MAX_PAGES)
      throw new McpToolboxError("list_failed", `The list of tools of the MCP server has no end: ${page} pages, ${all.length} tools.`)
    cursors.add(nextCursor)
    cursor = nextCursor
  }
}

async function onePage(
  client: McpClient,
  cursor: string | undefined,
  options: Pick<ListOptions, "timeoutMs" | "signal">,
): Promise<{ readonly tools: readonly unknown[]; readonly nextCursor?: string | undefined }> {
  let result: unknown
  try {
    result = await request(client, "tools/list", cursor === undefined ? {} : { cursor }, options)
  } catch (cause) {
    throw new McpToolboxError("list_failed", `The MCP server did not list its tools: ${cutMiddle(messageOf(cause), 1_000)}`, { cause })
  }
  const { tools, nextCursor } = (typeof result === "object" && result !== null ? result : {}) as { readonly [key: string]: unknown }
  if (!Array.isArray(tools)) throw new McpToolboxError("list_failed", "The MCP server answered tools/list without a list of tools.")
  return { tools, nextCursor: typeof nextCursor === "string" && nextCursor !== "" ? nextCursor : undefined }
}

function readTool(item: unknown, { prefix, limits }: ListOptions): ListedTool | McpProblem {
  const { name, description, inputSchema, outputSchema, annotations, execution } = (typeof item === "object" && item !== null ? item : {}) as {
    readonly [key: string]: unknown
  }
  if (typeof name !== "string" || name.trim() === "" || name.length > MAX_TOOL_NAME) {
    const message = typeof name === "string" && name.length > MAX_TOOL_NAME ? `Its name has ${name.length} characters.` : "It has no name."
    return { tool: typeof name === "string" ? shortName(name) : "", code: "invalid_name", message }
  }
  const problem = (code: McpProblem["code"], message: string): McpProblem => ({ tool: name, code, message })
  if ((execution as { readonly taskSupport?: unknown } | undefined)?.taskSupport === "required")
    return problem("needs_tasks", "It runs only as a task of the protocol's experimental tasks.")
  const hints = hintsOf(annotations)
  const input = inputSchemaOf(inputSchema, limits.schemaChars)
  if ("code" in input) return problem(input.code, `Its input schema ${input.message}`)
  // A result is described for the model only; without a description, it reads the result.
  const output = outputSchema === undefined ? undefined : schemaOf(outputSchema, limits.schemaChars)
  const text = typeof description === "string" ? cutMiddle(description, limits.descriptionChars) : ""
  return {
    name,
    hints,
    spec: {
      name: shownName(name, prefix),
      description: withHints(text, prefix ?? "server", hints),
      inputSchema: input.schema,
      ...(output !== undefined && "schema" in output && { outputSchema: output.schema }),
    },
  }
}

type Schema = { readonly schema: { readonly [key: string]: Json } }
type SchemaProblem = { readonly code: "invalid_schema" | "schema_too_long"; readonly message: string }

function schemaOf(schema: unknown, maxChars: number): Schema | SchemaProblem {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) return { code: "invalid_schema", message: "is not an object." }
  let json: { readonly [key: string]: Json }
  try {
    json = toJson(schema) as { readonly [key: string]: Json }
  } catch (error) {
    return { code: "invalid_schema", message: `is not JSON: ${textOf(error)}` }
  }
  const length = JSON.stringify(json).length
  if (length > maxChars) return { code: "schema_too_long", message: `has ${length} characters, and at most ${maxChars} are accepted.` }
  const foreign = foreignReference(json)
  // A model API may not resolve it, or might fetch it.
  if (foreign !== undefined) return { code: "invalid_schema", message: `refers to ${quoted(foreign)}, which is outside of it.` }
  return { schema: json }
}

/** Words at the root that some model APIs refuse, with the whole request. The server checks the arguments anyway. */
const NOT_AT_ROOT: ReadonlySet<string> = new Set(["$schema", "$id", "anyOf", "oneOf", "allOf", "not", "if", "then", "else"])

/** An input schema in the form that model APIs accept: an object with `properties` at the root. */
function inputSchemaOf(given: unknown, maxChars: number): Schema | SchemaProblem {
  const found = schemaOf(given, maxChars)
  if (!("schema" in found)) return found
  const { type = "object", properties = {} } = found.schema
  if (type !== "object") return { code: "invalid_schema", message: `is of type ${quoted(JSON.stringify(type))}, and arguments are an object.` }
  if (typeof properties !== "object" || properties === null || Array.isArray(properties))
    return { code: "invalid_schema", message: "has properties that are not an object." }
  const rest = Object.entries(found.schema).filter(([key]) => !NOT_AT_ROOT.has(key) && key !== "type" && key !== "properties")
  const schema = Object.fromEntries([["type", "object"], ["properties", properties], ...rest])
  return { schema: refersToRoot(schema) ? { ...schema, properties: toDefinition(properties), $defs: withRoot(schema) } : schema }
}

/** The first reference of a schema that is not to a part of it. */
function foreignReference(schema: Json): string | undefined {
  return firstReference(schema, (reference) => !reference.startsWith("#"))
}

function refersToRoot(schema: Json): boolean {
  return firstReference(schema, (reference) => reference === "#") !== undefined
}

function firstReference(schema: Json, isMeant: (reference: string) => boolean): string | undefined {
  if (typeof schema !== "object" || schema === null) return undefined
  for (const [key, value] of Object.entries(schema)) {
    if (key === "$ref" && typeof value === "string" && isMeant(value)) return value
    const found = firstReference(value as Json, isMeant)
    if (found !== undefined) return found
  }
  return undefined
}

const ROOT = "mcp_root"

/** In a request, "#" is not the root of this schema: a schema that refers to itself does so by a definition. */
function toDefinition(value: Json): Json {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(toDefinition)
  const entries = Object.entries(value as { readonly [key: string]: Json })
  return Object.fromEntries(entries.map(([key, item]) => [key, key === "$ref" && item === "#" ? `#/$defs/${ROOT}` : toDefinition(item)]))
}

function withRoot({ $defs = {}, ...schema }: { readonly [key: string]: Json }): Json {
  return { ...(toDefinition($defs) as { readonly [key: string]: Json }), [ROOT]: toDefinition(schema) }
}

function isAllowed(found: ListedTool | McpProblem, allow: McpAllow | undefined): boolean {
  if (allow === undefined) return true
  if ("code" in found) return typeof allow === "function" || allow.includes(found.tool)
  return typeof allow === "function" ? allow({ name: found.name, hints: found.hints }) === true : allow.includes(found.name)
}

/** A name that was misspelt would silently offer one tool less. */
function refuseMissing(allow: McpAllow | undefined, names: ReadonlySet<string>): void {
  if (allow === undefined || typeof allow === "function") return
  const missing = allow.find((name) => !names.has(name))
  if (missing === undefined) return
  const known = names.size === 0 ? "It has no tools." : `Its tools are: ${cutMiddle([...names].join(", "), 2_000)}.`
  throw new McpToolboxError("unknown_tool", `allow names the tool ${quoted(missing)}, which the MCP server does not have. ${known}`)
}

function byShownName({ spec: { name: one } }: ListedTool, { spec: { name: other } }: ListedTool): number {
  return one < other ? -1 : one > other ? 1 : 0
}

function shortName(name: string): string {
  return name.length > 100 ? `${name.slice(0, 99)}…` : name
}
