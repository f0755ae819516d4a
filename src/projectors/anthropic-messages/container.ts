import type { Json } from "../../json.ts"
import type { LlmRequest, OutputPart } from "../../wire/llm.ts"
import { originOf } from "../wires/origin.ts"
import { isRecord, stringOf } from "../wires/values.ts"
import type { EncodeOptions } from "../wires/wire.ts"

/** The key of a container in the metadata of the last part of an answer. */
const CONTAINER = "container"

/** Returns the id of the container in which the provider ran code for an answer, or "". */
export function readContainer(container: unknown): string {
  return isRecord(container) ? stringOf(container["id"]) : ""
}

/** Adds the container of an answer to its last part. */
export function withContainer(parts: readonly OutputPart[], container: string): readonly OutputPart[] {
  const last = parts.at(-1)
  if (container === "" || last === undefined) return parts
  const metadata = isRecord(last.providerMetadata) ? (last.providerMetadata as { readonly [key: string]: Json }) : {}
  return [...parts.slice(0, -1), { ...last, providerMetadata: { ...metadata, [CONTAINER]: container } }]
}

/**
 * Returns the container in which the model ran code since the user last said something. Where code still runs and waits for the results of calls,
 * the provider requires it. A container expires, so later turns get a new one.
 * @param api the name of the wire in a producer
 * @see https://github.com/anthropics/anthropic-sdk-typescript/issues/1114 (2026-11): "container_id is required when there are pending tool uses"
 */
export function containerOf(request: LlmRequest, { producer }: EncodeOptions, api: string): string | undefined {
  for (const message of [...request.messages].reverse()) {
    const { blocks, role } = message
    if (role === "user" && blocks.every(({ type }) => type !== "tool_result")) return undefined
    if (role !== "assistant" || originOf(message.producer, producer, api, request) === "other") continue
    const ids = blocks.map(({ providerMetadata }) => (isRecord(providerMetadata) ? stringOf(providerMetadata[CONTAINER]) : ""))
    const [id] = ids.filter((one) => one !== "").slice(-1)
    if (id !== undefined) return id
  }
  return undefined
}
