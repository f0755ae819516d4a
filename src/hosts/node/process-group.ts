import { spawn } from "node:child_process"

/** How long a process group may take to end after SIGTERM, in milliseconds. */
const TERM_MS = 2_000
/** How long it is looked for after SIGKILL. A process that waits for the kernel, or whose parent does not wait for it, stays longer. */
const KILL_MS = 500
const POLL_MS = 20

/** The groups that this process has started and not ended. */
const RUNNING = new Set<number>()

/** Kills the process group of a program when this process exits. Returns a function that forgets it. */
export function killAtExit(pid: number): () => void {
  if (RUNNING.size === 0) process.on("exit", killAll)
  RUNNING.add(pid)
  return () => {
    RUNNING.delete(pid)
    if (RUNNING.size === 0) process.off("exit", killAll)
  }
}

function killAll(): void {
  for (const pid of RUNNING) send(pid, "SIGKILL")
}

/** Ends the process group of a program that was started detached: SIGTERM, then SIGKILL. Resolves when it is gone. Never rejects. */
export async function endGroup(pid: number): Promise<void> {
  if (process.platform === "win32") return endTree(pid)
  if (!send(pid, "SIGTERM") || (await isGone(pid, TERM_MS))) return
  send(pid, "SIGKILL")
  await isGone(pid, KILL_MS)
}

async function isGone(pid: number, withinMs: number): Promise<boolean> {
  const end = performance.now() + withinMs
  while (send(pid, 0)) {
    if (performance.now() >= end) return false
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  return true
}

/** Whether the group exists. */
function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(process.platform === "win32" ? pid : -pid, signal)
    return true
  } catch (error) {
    // Not ours to end: a member has another user by now.
    return (error as NodeJS.ErrnoException).code === "EPERM" && signal !== 0
  }
}

function endTree(pid: number): Promise<void> {
  return new Promise((resolve) => {
    const killer = spawn("taskkill", ["/pid", String(pid), "/T", "/F"], { stdio: "ignore", windowsHide: true })
    killer.once("error", () => resolve())
    killer.once("exit", () => resolve())
  })
}
