import { readFileSync } from "node:fs"
import { errorCode } from "./file-error.ts"

/** Whether a process with this id is running. A zombie process is not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (errorCode(error) !== "EPERM") return false
  }
  return statusOf(pid)?.[0] !== "Z"
}

/**
 * When a process started, in the system's own unit; `undefined` where that is not known. The system reuses ids, in containers
 * even soon; id and start time together identify a process.
 */
export function birthOf(pid: number): string | undefined {
  return statusOf(pid)?.[19]
}

/** Identifies the current boot of the system; `undefined` where that is not known. Processes of an earlier boot are gone. */
export function bootId(): string | undefined {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  } catch {
    return undefined
  }
}

/** The fields of `/proc/<pid>/stat` from the third on. The second is the name in parentheses, which may contain spaces. */
function statusOf(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  } catch {
    return undefined
  }
}
