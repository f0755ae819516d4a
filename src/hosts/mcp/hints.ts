import type { AskOptions, PolicyAnswer, PolicyFacts } from "../../drivers/approval/policy.ts"
import type { PendingToolCall, ToolSpec } from "../../wire/tool.ts"
import type { ToolEffects } from "../host.ts"

/**
 * What a server says about a tool, with the defaults of the protocol. A server may say anything.
 * @see https://modelcontextprotocol.io/specification/2025-11-25/schema#toolannotations
 */
export interface McpHints {
  /** The tool changes nothing. Default false. */
  readonly readOnly: boolean
  /** A tool that changes something may delete or overwrite. Default true. */
  readonly destructive: boolean
  /** A second call with the same arguments changes nothing more. Default false. */
  readonly idempotent: boolean
  /** The tool reaches other systems, such as the web. Default true. */
  readonly openWorld: boolean
}

/**
 * Who is asked about a call. `unless-read-only`: each call is asked about, unless the server says that the tool only reads. `always`: each call.
 * `never`: none. A function decides by the call and the hints; it is pure, as an approval policy.
 */
export type McpApproval =
  | "unless-read-only"
  | "always"
  | "never"
  | ((call: PendingToolCall, hints: McpHints) => AskOptions | false | { readonly deny: string })

/** Reads the annotations of a tool. What is not a boolean has its default. */
export function hintsOf(annotations: unknown): McpHints {
  const given = (typeof annotations === "object" && annotations !== null ? annotations : {}) as { readonly [name: string]: unknown }
  const hint = (name: string, otherwise: boolean): boolean => (typeof given[name] === "boolean" ? given[name] : otherwise)
  const readOnly = hint("readOnlyHint", false)
  return {
    readOnly,
    destructive: !readOnly && hint("destructiveHint", true),
    idempotent: readOnly || hint("idempotentHint", false),
    openWorld: hint("openWorldHint", true),
  }
}

/** What a call does to the world, if the server is believed. */
export function effectsOf({ readOnly, idempotent }: McpHints): ToolEffects {
  return readOnly ? "none" : idempotent ? "idempotent" : "once"
}

/**
 * Adds the hints to a description, as its last line. Approvals read them there: a replay asks the policy again, in a process that may have other
 * tools or none, and must get the answer that the turn had. A tool whose hints changed is another tool, for which no earlier approval counts.
 */
export function withHints(description: string, server: string, { readOnly, destructive, idempotent, openWorld }: McpHints): string {
  const words = [
    readOnly ? "read-only" : destructive ? "destructive" : "additive",
    ...(idempotent && !readOnly ? ["idempotent"] : []),
    openWorld ? "open-world" : "closed-world",
  ]
  const line = `[MCP ${server}: ${words.join(", ")}]`
  return description === "" ? line : `${description}\n${line}`
}

/** The server and the hints in a description that {@link withHints} made; `undefined` if it did not. */
export function readHints({ description }: Pick<ToolSpec, "description">): { readonly server: string; readonly hints: McpHints } | undefined {
  const found = /\[MCP ([^\n:\]]+): ([a-z, -]+)\]$/.exec(description)
  if (found === null) return undefined
  const [, server = "", list = ""] = found
  const words = new Set(list.split(", "))
  const readOnly = words.has("read-only")
  return {
    server,
    hints: {
      readOnly,
      destructive: words.has("destructive"),
      idempotent: readOnly || words.has("idempotent"),
      openWorld: words.has("open-world"),
    },
  }
}

/** A tool of which nothing is known may do anything. */
const UNKNOWN: McpHints = hintsOf(undefined)

/** Answers as an approval policy does. Pure: it reads the hints of the tool as the model was shown it. */
export function answerOf(approval: McpApproval, call: PendingToolCall, { tool, broken }: PolicyFacts): PolicyAnswer {
  // A model corrects its own broken arguments.
  if (broken === true || approval === "never") return "run"
  const hints = (tool === undefined ? undefined : readHints(tool)?.hints) ?? UNKNOWN
  if (typeof approval === "function") {
    const ask = approval(call, hints)
    if (ask === false) return "run"
    return "deny" in ask ? ask : { hold: ask }
  }
  return approval === "unless-read-only" && hints.readOnly ? "run" : { hold: { risk: riskOf(hints) } }
}

/** Whether a call of a tool with these hints may be held or denied. */
export function mayAsk(approval: McpApproval, { readOnly }: McpHints): boolean {
  return approval !== "never" && !(approval === "unless-read-only" && readOnly)
}

function riskOf({ readOnly, destructive, openWorld }: McpHints): NonNullable<AskOptions["risk"]> {
  return destructive ? "high" : readOnly && !openWorld ? "low" : "medium"
}
