/**
 * The program that every runtime runs, as one bundle. It uses only what the package uses: ECMAScript, and the web-standard APIs that all
 * runtimes have. `call` is all that the launchers of the runtimes know of it.
 */

import "../../conformance/checklist.test.ts"
import "../../conformance/goal.test.ts"
import "../../conformance/machine.test.ts"
import "../../conformance/projector.test.ts"
import "./laws.ts"
import "../../properties/prefix.test.ts"
import "../../properties/time-travel.test.ts"
import "./hosts.ts"
import "./journaled.ts"
import "./thread.ts"
import "./tools.ts"
import { configureGlobal } from "fast-check"
import { CASES, takeTranscript } from "./registry.ts"
import { type Luggage, type Step, travel } from "./travel.ts"

/** What is asked of the program in a runtime. */
export type Request = { readonly do: "hello" } | { readonly do: "run" } | { readonly do: "travel"; readonly place: string; readonly luggage: Luggage }

/** The result of a group of cases. */
export interface Group {
  readonly name: string
  readonly checks: number
  /** The SHA-256 of everything that the cases received and recorded. */
  readonly hash: string
  /** Wall-clock time. Not compared. */
  readonly ms: number
}

export interface Report {
  readonly groups: readonly Group[]
  readonly failures: readonly string[]
}

/** Which globals the runtime has. What one of them lacks, the package does without. */
export type Globals = { readonly [name: string]: boolean }

configureGlobal({ seed: 20_261_127 })

/** Does what is asked, and returns the JSON text of the result. */
export async function call(text: string): Promise<string> {
  const request = JSON.parse(text) as Request
  return JSON.stringify(await answer(request))
}

async function answer(request: Request): Promise<Report | Step | Globals> {
  if (request.do === "hello") return globals()
  return request.do === "run" ? runAll() : travel(request.place, request.luggage)
}

async function runAll(): Promise<Report> {
  const groups = new Map<string, { readonly hashes: string[]; ms: number }>()
  const failures: string[] = []
  for (const { group, name, run } of CASES) {
    takeTranscript()
    const began = Date.now()
    let failure = ""
    try {
      await run()
    } catch (error) {
      failure = error instanceof Error ? `${error.name}: ${error.message}\n${error.stack ?? ""}`.slice(0, 2_000) : String(error)
      failures.push(`${group} › ${name}: ${failure}`)
    }
    const known = groups.get(group) ?? { hashes: [], ms: 0 }
    groups.set(group, known)
    known.ms += Date.now() - began
    known.hashes.push(`${name} ${failure === "" ? await sha256(takeTranscript()) : "failed"}`)
  }
  const all = [...groups].map(async ([name, { hashes, ms }]): Promise<Group> => {
    return { name, checks: hashes.length, hash: await sha256(hashes.join("\n")), ms }
  })
  return { groups: await Promise.all(all), failures }
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}

const NAMES = ["process", "Buffer", "require", "window", "document", "importScripts", "Deno", "Bun", "setImmediate", "caches", "navigator"]

function globals(): Globals {
  return Object.fromEntries(NAMES.map((name) => [name, name in globalThis]))
}
