import { readFileSync } from "node:fs"
import { errorCode } from "./errors.ts"

/** Whether a process with this id runs now. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return errorCode(error) === "EPERM"
  }
}

/**
 * When a process began, as the system counts; `undefined` where that cannot be told. Ids are used again, in containers
 * even soon: together the two say which process was meant.
 */
export function birthOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The second field is the program's name in parentheses, which may hold spaces; the 22nd is the start time.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
  } catch {
    return undefined
  }
}
