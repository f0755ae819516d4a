import { createHash, randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { lstat, open, readdir, stat, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import * as z from "zod"
import { writeAtomically } from "../../hosts/node/atomic-file.ts"
import { errorCode, fileReason } from "../../hosts/node/file-error.ts"
import { approvalFields } from "../approvals/policy.ts"
import { mcpFields } from "../mcp/mcp-fields.ts"
import { modelFields } from "../model/model-fields.ts"
import type { Io } from "../terminal/io.ts"
import { belongsToOther, findUserFolder, isOpenTo, makeUserFolder, userFolderPath } from "./user-folder.ts"

/** The settings of a stored run or goal that decide what is read, written and run, and where a key is sent. */
const WorkSettings = z.strictObject({
  dir: z.string(),
  out: z.string(),
  ...modelFields,
  /** The model that judges a goal, where it is not the model of the goal. Without a URL, it is at the same endpoint. */
  judgeModel: z.string().exactOptional(),
  judgeBaseUrl: z.string().exactOptional(),
  judgeProvider: modelFields.provider,
  judgeApiKeyEnv: z.string().exactOptional(),
  /** The commands that check a goal. */
  checks: z.array(z.string()).exactOptional(),
  ...mcpFields,
  ...approvalFields,
})
export type WorkSettings = Readonly<z.infer<typeof WorkSettings>>

const SETTING_NAMES = Object.keys(WorkSettings.shape) as readonly (keyof WorkSettings)[]

/** Those of a state's settings that must be the user's. */
export function workSettingsOf(settings: WorkSettings): WorkSettings {
  return WorkSettings.parse(Object.fromEntries(SETTING_NAMES.flatMap((name) => (settings[name] === undefined ? [] : [[name, settings[name]]]))))
}

/** A state's other settings. */
export function otherSettingsOf<Meta extends WorkSettings>(meta: Meta): Omit<Meta, keyof WorkSettings> {
  const names: readonly string[] = SETTING_NAMES
  return Object.fromEntries(Object.entries(meta).filter(([name]) => !names.includes(name))) as Omit<Meta, keyof WorkSettings>
}

/** The stored state of a run (a file) or a goal (a folder), by its real path. */
export interface StatePlace {
  readonly type: "run" | "goal"
  readonly path: string
}

/** The settings that this user gave for a state, or the reason why they are unknown, as a clause. */
export type KnownSettings = { readonly settings: WorkSettings } | { readonly unknown: string }

const Identity = z.strictObject({ dev: z.string(), ino: z.string(), born: z.string() })
type Identity = z.infer<typeof Identity>

/** The identity of a folder as it is now. `changed`: the time of its last change. All times are in nanoseconds since the epoch. */
type FoundIdentity = Identity & { readonly changed: string }

const OwnState = z.strictObject({
  format: z.literal("turn-machine/own-state"),
  version: z.literal(1),
  type: z.enum(["run", "goal"]),
  path: z.string(),
  id: z.string(),
  folder: Identity,
  settings: WorkSettings,
})
type OwnState = Readonly<z.infer<typeof OwnState>>

const MAX_RECORD_BYTES = 100_000
const MAX_RECORDS = 5_000
const STALE_MS = 3_600_000

/**
 * Records of the runs and goals that this user started or confirmed, in a private folder of the user. A state that lies in a project
 * may have come with it, for example from a repository. Its settings are unknown unless a record has:
 *
 * - its real path,
 * - its id, a random value that the state has too,
 * - the identity of its folder, which a checkout or a copy does not have.
 *
 * And its files must be as this program writes them: owned by the user, closed to others, and not links. The settings come from the
 * record, never from the state, so a state that was edited cannot change them.
 */
export class OwnStates {
  readonly #env: Io["env"]

  constructor(env: Io["env"]) {
    this.#env = env
  }

  /** Whether an absolute path is a record. */
  readonly owns = (path: string): boolean => {
    const folder = userFolderPath(this.#env)
    return folder !== undefined && (path === folder || dirname(path) === folder)
  }

  /** Finds the settings of a state. Writes nothing. */
  async find(place: StatePlace, id: string): Promise<KnownSettings> {
    const folder = await findUserFolder(this.#env)
    if ("none" in folder) return { unknown: folder.none }
    const record = await readRecord(join(folder.path, recordName(place, id)))
    if (record === undefined || record.type !== place.type || record.path !== place.path || record.id !== id) {
      const from = await this.#elsewhere(folder.path, id)
      return {
        unknown:
          from === undefined
            ? `${folder.path} has no record that you started it`
            : `you started it as ${from}, so it was moved, copied or replaced since`,
      }
    }
    try {
      if (!isSameFolder(record.folder, await identityOf(place))) return { unknown: "its folder was replaced since you started it" }
      const change = await changeOf(place)
      return change === undefined ? { settings: record.settings } : { unknown: change }
    } catch (error) {
      return { unknown: `it cannot be checked: ${fileReason(error)}` }
    }
  }

  /**
   * Records the settings of a state. Its folder must exist. Without a private folder of the user nothing is recorded, and the settings
   * must be given again on resume.
   */
  async record(place: StatePlace, id: string, settings: WorkSettings): Promise<void> {
    const folder = await makeUserFolder(this.#env)
    if ("none" in folder) return
    try {
      const { changed: _changed, ...identity } = await identityOf(place)
      const record: OwnState = {
        format: "turn-machine/own-state",
        version: 1,
        type: place.type,
        path: place.path,
        id,
        folder: identity,
        settings: workSettingsOf(settings),
      }
      const path = join(folder.path, recordName(place, id))
      const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`
      await writeAtomically(path, `${JSON.stringify(record)}\n`, temporary, { mode: 0o600 })
      await prune(folder.path)
    } catch {
      // For example a full disk. The run does not depend on the record.
    }
  }

  /** The path in a record of the same id. */
  async #elsewhere(folder: string, id: string): Promise<string | undefined> {
    const names = await readdir(folder).catch(() => [])
    for (const name of names) {
      if (!name.startsWith(`${digest(id)}-`) || !name.endsWith(".json")) continue
      const record = await readRecord(join(folder, name))
      if (record?.id === id) return record.path
    }
    return undefined
  }
}

/** States at one path may follow one another, and copies have the same id, so a record has the name of both. */
function recordName({ type, path }: StatePlace, id: string): string {
  return `${digest(id)}-${digest(`${type}\0${path}`)}.json`
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32)
}

/** Reads a record; `undefined` if there is none, or a file that this program did not write. */
async function readRecord(path: string): Promise<OwnState | undefined> {
  try {
    const handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))
    try {
      const found = await handle.stat()
      if (!found.isFile() || found.size > MAX_RECORD_BYTES || belongsToOther(found) || isOpenTo(found, 0o077)) return undefined
      const result = OwnState.safeParse(JSON.parse(await handle.readFile("utf8")))
      return result.success ? result.data : undefined
    } finally {
      await handle.close()
    }
  } catch {
    return undefined
  }
}

/** The identity of the folder of a state. A state file cannot have one: opening it replaces it with a copy. */
async function identityOf({ type, path }: StatePlace): Promise<FoundIdentity> {
  const { dev, ino, birthtimeNs, ctimeNs } = await stat(type === "goal" ? path : dirname(path), { bigint: true })
  return { dev: `${dev}`, ino: `${ino}`, born: `${birthtimeNs}`, changed: `${ctimeNs}` }
}

/**
 * Device numbers may change when the system restarts, so the time of birth decides where there is one. Some systems give 0 or the time
 * of the last change in its place.
 */
export function isSameFolder(recorded: Identity, { dev, ino, born, changed }: FoundIdentity): boolean {
  if (recorded.ino !== ino) return false
  return born === "0" || born === changed ? recorded.dev === dev : recorded.born === born
}

/** Says in a clause how the files of a state differ from those that this program writes; `undefined` if they do not. */
async function changeOf({ type, path }: StatePlace): Promise<string | undefined> {
  if (type === "run") return changeOfFile(path, "it")
  const folder = await lstat(path)
  if (belongsToOther(folder)) return "it belongs to another user"
  if (isOpenTo(folder, 0o022)) return "other users can write to it (chmod go-w prevents that)"
  const inbox = await readdir(join(path, "inbox")).catch(() => [])
  const names = (await readdir(path)).filter((name) => /^goal(?:-\d+)?\./.test(name) && !name.endsWith(".lock"))
  for (const name of [...names, ...inbox.filter((request) => request.endsWith(".json")).map((request) => `inbox/${request}`)]) {
    const change = await changeOfFile(join(path, name), name)
    if (change !== undefined) return change
  }
  return undefined
}

async function changeOfFile(path: string, name: string): Promise<string | undefined> {
  try {
    const found = await lstat(path)
    if (found.isSymbolicLink()) return `${name} is a link`
    if (belongsToOther(found)) return `${name} belongs to another user`
    return isOpenTo(found, 0o077) ? `${name} was replaced or has other permissions since you started it` : undefined
  } catch (error) {
    // Another process has just removed it.
    if (errorCode(error) === "ENOENT") return undefined
    throw error
  }
}

/** Removes the oldest of too many records, and what killed processes left. */
async function prune(folder: string): Promise<void> {
  const names = await readdir(folder)
  const left = names.filter((name) => name.endsWith(".tmp"))
  if (names.length - left.length <= MAX_RECORDS && left.length === 0) return
  const found = await Promise.all(
    names.map(async (name) => ({ name, writtenAt: (await lstat(join(folder, name)).catch(() => undefined))?.mtimeMs ?? Date.now() })),
  )
  const records = found.filter(({ name }) => name.endsWith(".json")).sort((one, other) => other.writtenAt - one.writtenAt)
  const stale = found.filter(({ name, writtenAt }) => name.endsWith(".tmp") && Date.now() - writtenAt > STALE_MS)
  for (const { name } of [...records.slice(MAX_RECORDS), ...stale]) await unlink(join(folder, name)).catch(() => {})
}
