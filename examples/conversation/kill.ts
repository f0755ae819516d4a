/**
 * Loaded before a program (`node --import ./kill.ts`): kills its process with SIGKILL, before or after the `KILL_AT`-th change that it makes
 * to files.
 */
import fs from "node:fs"
import promises, { type FileHandle } from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"

const at = Number(process.env["KILL_AT"] ?? "0")
let points = 0

function point(): void {
  points += 1
  if (points === at) process.kill(process.pid, "SIGKILL")
}

type Act = (this: unknown, ...args: unknown[]) => unknown

/** Replaces functions by ones that may kill the process before and after they run. */
function watch<Target extends object>(target: Target, names: readonly (keyof Target)[]): void {
  for (const name of names) {
    const act = target[name] as Act
    const watched: Act = function (...args) {
      point()
      const result = act.apply(this, args)
      if (!(result instanceof Promise)) {
        point()
        return result
      }
      return result.then((value) => {
        point()
        return value
      })
    }
    target[name] = watched as Target[keyof Target]
  }
}

watch(fs, ["appendFileSync", "writeFileSync", "renameSync"])
watch(promises, ["mkdir", "rename", "rmdir", "unlink"])
syncBuiltinESMExports()
const probe = await promises.open("/dev/null")
watch(Object.getPrototypeOf(probe) as FileHandle, ["appendFile", "writeFile", "datasync", "sync"])
await probe.close()
