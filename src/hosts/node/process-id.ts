import { readFileSync, readlinkSync } from "node:fs"
import { hostname } from "node:os"
import { errorCode } from "./file-error.ts"

/**
 * Identifies a process among all that may ever use a file. Without `/proc`, only `pid` and `host` are known. Ids are unique in one
 * PID namespace of one boot; a host name is not an identity, because it changes, and because containers share it.
 */
export interface ProcessIdentity {
  readonly pid: number
  /** The host's name, for messages. */
  readonly host: string
  /** Id of the system's boot. Processes of another boot are not known here: they are gone, or on another host. */
  readonly boot?: string | undefined
  /** The PID namespace. Its number is reused once all its processes are gone. */
  readonly namespace?: string | undefined
  /** When the process started: see {@link birthOf}. */
  readonly birth?: string | undefined
}

/** The identity of this process. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, host: hostname(), boot: bootId(), namespace: pidNamespace(), birth: birthOf(process.pid) }
}

/** Whether a process with this id is running in this process's PID namespace. A zombie process is not. */
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

/** Identifies the current boot of the system; `undefined` where that is not known. */
export function bootId(): string | undefined {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  } catch {
    return undefined
  }
}

/**
 * Identifies the PID namespace of this process; `undefined` where that is not known. In a time namespace, which shifts the start times of all
 * processes, it is another one.
 */
export function pidNamespace(): string | undefined {
  const pid = namespaceOf("pid")
  const time = namespaceOf("time")
  return pid === undefined || time === undefined ? pid : `${pid} ${time}`
}

function namespaceOf(type: "pid" | "time"): string | undefined {
  try {
    return readlinkSync(`/proc/self/ns/${type}`)
  } catch {
    return undefined
  }
}

/** The fields of `/proc/<pid>/stat` from the third on. The second is the name in parentheses, which may contain spaces. */
function statusOf(pid: number): readonly string[] | undefined {
  try {
    if (!isOwnProc()) return undefined
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  } catch {
    return undefined
  }
}

/** Whether `/proc` lists the processes of this PID namespace. In a namespace without a `/proc` of its own, ids there are of other processes. */
function isOwnProc(): boolean {
  // The ids of this process, from the namespace that `/proc` lists to its own.
  const [, ids] = /^NSpid:\s*(.*)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? []
  return (ids ?? readlinkSync("/proc/self")).trim() === `${process.pid}`
}
