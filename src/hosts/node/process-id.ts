import { readFileSync } from "node:fs"
import { errorCode } from "./file-error.ts"

/** Whether a process with this id runs now. One that ended, and that nobody has asked about yet, does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (errorCode(error) !== "EPERM") return false
  }
  return statusOf(pid)?.[0] !== "Z"
}

/**
 * When a process began, as the system counts; `undefined` where that cannot be told. Ids are used again, in containers
 * even soon: together the two say which process was meant.
 */
export function birthOf(pid: number): string | undefined {
  return statusOf(pid)?.[19]
}

/** Which start of the system this is; `undefined` where that cannot be told. Processes of another one are gone. */
export function bootId(): string | undefined {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  } catch {
    return undefined
  }
}

/** What the system says of a process, from its third field on: the second is its name in parentheses, which may hold spaces. */
function statusOf(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  } catch {
    return undefined
  }
}
