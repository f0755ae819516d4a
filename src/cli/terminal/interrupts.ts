import { CliError } from "./errors.ts"
import type { Io } from "./io.ts"

/**
 * Runs a command that can be interrupted in every phase. Until it listens itself, while settings are read and servers start, an interrupt ends
 * it with the error `stopped`, which says how to begin again. After that, while files are closed and servers end, everything is recorded, and
 * an interrupt ends the process immediately.
 * @throws {CliError} it was stopped before it began
 */
export async function interruptible(io: Io, stopped: string, command: (io: Io) => Promise<number>): Promise<number> {
  let listener: ((isFinal?: boolean) => void) | undefined
  let hasBegun = false
  let isStopped = false
  let stop: () => void = () => {}
  const early = new Promise<never>((_resolve, reject) => {
    stop = () => reject(new CliError(stopped, 1))
  })
  early.catch(() => {})
  const stopListening = io.onInterrupt((isFinal) => {
    if (listener !== undefined) listener(isFinal)
    else if (hasBegun || isStopped) io.exit(1)
    else {
      isStopped = true
      stop()
    }
  })
  const onInterrupt: Io["onInterrupt"] = (added) => {
    // What still starts in this process must not run.
    if (isStopped) throw new CliError(stopped, 1)
    hasBegun = true
    listener = added
    return () => {
      if (listener === added) listener = undefined
    }
  }
  try {
    const running = command({ ...io, onInterrupt })
    running.catch(() => {})
    return await Promise.race([running, early])
  } finally {
    stopListening()
  }
}
