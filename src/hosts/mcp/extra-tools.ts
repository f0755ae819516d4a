import type { Json } from "../../json.ts"
import type { ToolSpec } from "../../wire/tool.ts"
import { ToolError } from "../host.ts"
import { type McpClient, type RequestOptions, request, type ServerFeatures } from "./client.ts"
import { hintsOf, type McpHints, withHints } from "./hints.ts"
import { shownName } from "./names.ts"
import { type ReadOptions, type ReadResult, readJsonResult, readPromptResult, readResourceResult } from "./result.ts"

/** A tool of ours over something that a server has beside its tools. */
export interface ExtraTool {
  readonly spec: ToolSpec
  readonly hints: McpHints
  /** @throws {ToolError} `invalid_arguments` */
  run(client: McpClient, args: Arguments, options: RequestOptions, reading: ReadOptions): Promise<ReadResult>
}

type Arguments = { readonly [key: string]: Json }

/** Resources and prompts change nothing; where a server gets them from, it does not say. */
const HINTS: McpHints = hintsOf({ readOnlyHint: true })

const TEXT = { type: "string" }

/** The tools for resources and prompts, if the server has them and the host offers them. */
export function extraTools(
  features: ServerFeatures,
  { prefix, resources, prompts }: { readonly prefix: string | undefined; readonly resources: boolean; readonly prompts: boolean },
): readonly ExtraTool[] {
  const server = prefix ?? "server"
  const tool = (name: string, description: string, properties: object, required: readonly string[], run: ExtraTool["run"]): ExtraTool => ({
    spec: {
      name: shownName(name, prefix),
      description: withHints(description, server, HINTS),
      inputSchema: { type: "object", properties: properties as Json, ...(required.length > 0 && { required }) },
    },
    hints: HINTS,
    run,
  })
  const listed = (method: string): ExtraTool["run"] => {
    return async (client, args, options, reading) => readJsonResult(await request(client, method, pick(args, ["cursor"]), options), reading)
  }
  const listResources = listed("resources/list")
  const listTemplates = listed("resources/templates/list")
  const cursor = { ...TEXT, description: "nextCursor of the page before" }
  return [
    ...(resources && features.resources
      ? [
          tool(
            "list_resources",
            "Lists the resources of the server, or the templates of their URIs.",
            { templates: { type: "boolean" }, cursor },
            [],
            (client, args, options, reading) => (args["templates"] === true ? listTemplates : listResources)(client, args, options, reading),
          ),
          tool("read_resource", "Reads a resource of the server.", { uri: TEXT }, ["uri"], async (client, args, options, reading) =>
            readResourceResult(await request(client, "resources/read", { uri: needed(args, "uri") }, options), reading),
          ),
        ]
      : []),
    ...(prompts && features.prompts
      ? [
          tool("list_prompts", "Lists the prompts of the server with their arguments.", { cursor }, [], listed("prompts/list")),
          tool(
            "get_prompt",
            "Returns the messages of a prompt of the server.",
            { name: TEXT, arguments: { type: "object", additionalProperties: TEXT } },
            ["name"],
            async (client, args, options, reading) =>
              readPromptResult(await request(client, "prompts/get", { name: needed(args, "name"), ...pick(args, ["arguments"]) }, options), reading),
          ),
        ]
      : []),
  ]
}

function needed(args: Arguments, name: string): string {
  const value = args[name]
  if (typeof value === "string") return value
  throw new ToolError({ class: "invalid_request", code: "invalid_arguments", message: `- ${name}: expected string`, source: "runtime" })
}

function pick(args: Arguments, names: readonly string[]): object {
  return Object.fromEntries(names.flatMap((name) => (args[name] === undefined || args[name] === null ? [] : [[name, args[name]]])))
}
