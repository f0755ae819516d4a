import fs from "node:fs"
import promises, { type FileHandle } from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"

// Loaded before a program (`node --import`): kills its process at the n-th boundary of what it does to files, which is
// given by CRASH_AT, and prints the kind of boundary to standard error. The program itself is unchanged. With CRASH_AT=list,
// the kinds of all boundaries are printed, and nothing is killed.

const isListed = process.env["CRASH_AT"] === "list"
const at = isListed ? 0 : Number(process.env["CRASH_AT"] ?? "0")
/** The kinds of boundaries to count, separated by `;`. Absent: all. */
const only = process.env["CRASH_ONLY"]?.split(";")
let boundaries = 0

/** Whether to kill at the next boundary, if it is of this kind. */
function isNext(kind: string): boolean {
  return boundaries + 1 === at && only?.includes(kind) !== false
}

function boundary(kind: string): void {
  if (only?.includes(kind) === false) return
  boundaries += 1
  if (isListed) fs.writeSync(2, `${kind}\n`)
  if (boundaries !== at) return
  fs.writeSync(2, kind)
  process.kill(process.pid, "SIGKILL")
}

/** Where the files of the handles are now; a staging file becomes the journal when it is renamed. */
const paths = new Map<FileHandle, string>()

type FileOf = "journal" | "temporary" | "lock" | "other"

function fileOf(path: unknown): FileOf {
  const text = String(path)
  if (text.endsWith(".tmp")) return "temporary"
  if (text.includes(".lock")) return "lock"
  return text.endsWith(".journal") ? "journal" : "other"
}

function around<Result>(before: string, act: () => Promise<Result>, after: string): Promise<Result> {
  boundary(before)
  return act().then((result) => {
    boundary(after)
    return result
  })
}

const LOCK = "acquiring or releasing the lock"

const WRITES = {
  journal: ["before an append", "in mid-append", "appended, not synced"],
  temporary: ["temporary file empty", "temporary file half written", "temporary file written, not renamed"],
  lock: [LOCK, LOCK, LOCK],
  other: ["another file", "another file", "another file"],
} as const satisfies Record<FileOf, readonly [string, string, string]>

function kindOf(path: unknown): string {
  return String(path).includes(".lock") ? LOCK : "another file"
}

const { open, rename, mkdir, rmdir, unlink } = promises
const { appendFileSync } = fs

// The writes of executors: all effects on the world.
fs.appendFileSync = (path, data, options) => {
  boundary("before performing")
  appendFileSync(path, data, options)
  boundary("performed, answer not persisted")
}

promises.rename = (from, to) => {
  const moved = async (): Promise<void> => {
    await rename(from, to)
    for (const [handle, path] of paths) if (path === String(from)) paths.set(handle, String(to))
  }
  return fileOf(to) === "journal" ? around("before the rename", moved, "after the rename") : around(kindOf(to), moved, kindOf(to))
}
promises.mkdir = ((path: string, options?: fs.MakeDirectoryOptions) => around(kindOf(path), () => mkdir(path, options), kindOf(path))) as typeof mkdir
promises.rmdir = (path) => around(kindOf(path), () => rmdir(path), kindOf(path))
promises.unlink = (path) => around(kindOf(path), () => unlink(path), kindOf(path))
promises.open = async (path, flags, mode) => {
  const handle = await open(path, flags, mode)
  paths.set(handle, String(path))
  return handle
}
syncBuiltinESMExports()

const probe = await open("/dev/null")
const prototype = Object.getPrototypeOf(probe) as FileHandle
await probe.close()
const { appendFile, writeFile, datasync, sync } = prototype

function writes(write: FileHandle["appendFile"]): FileHandle["appendFile"] {
  return async function (this: FileHandle, data, options) {
    const [before, middle, after] = WRITES[fileOf(paths.get(this))]
    const bytes = Buffer.from(data as string)
    boundary(before)
    const half = Math.floor(bytes.length / 2)
    if (half > 0 && isNext(middle)) fs.writeSync(this.fd, bytes.subarray(0, half))
    boundary(middle)
    await write.call(this, data, options)
    boundary(after)
  }
}
prototype.appendFile = writes(appendFile)
prototype.writeFile = writes(writeFile)
prototype.datasync = async function (this: FileHandle) {
  await datasync.call(this)
  boundary("persisted, the process does not know")
}
prototype.sync = async function (this: FileHandle) {
  await sync.call(this)
  boundary("another file")
}
