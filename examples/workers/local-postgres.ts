import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"

/** A PostgreSQL server of our own, in a temporary folder. It listens only on a socket in that folder. */
export interface LocalPostgres {
  /** How pg connects to it. */
  readonly connection: { readonly host: string; readonly port: number; readonly user: string; readonly database: string }
  /** The process id of the server. */
  readonly pid: number
  /** Kills the server as a crash of the machine would. */
  kill(): Promise<void>
  /** Starts the server again after `kill`. */
  restart(): Promise<void>
  /** Stops the server and removes its folder. */
  stop(): Promise<void>
}

/** Only names the socket: nothing listens on a port. */
const PORT = 64_321
const READY_MS = 60_000

/** The folder of the programs `postgres` and `initdb`; `undefined` if PostgreSQL is not installed. `PG_BIN` names it. */
export function findPostgres(): string | undefined {
  const debian = "/usr/lib/postgresql"
  const folders = [
    process.env["PG_BIN"] ?? "",
    ...(existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []).map((version) => join(debian, version, "bin")),
    ...(process.env["PATH"] ?? "").split(delimiter),
    ...["/opt/homebrew/bin", "/usr/local/bin", "/usr/local/pgsql/bin"],
  ]
  return folders.find((folder) => folder !== "" && existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")))
}

/** Creates a database in a new folder and starts a server. `settings` are those of postgresql.conf. */
export async function startPostgres(bin: string, settings: Readonly<Record<string, string>> = {}): Promise<LocalPostgres> {
  const folder = mkdtempSync(join(tmpdir(), "pg-"))
  const data = join(folder, "data")
  const user = userToRunAs()
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  const given = { ...user, cwd: folder, env: { ...process.env, LC_ALL: "C" } }
  const created = spawnSync(join(bin, "initdb"), ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"], {
    ...given,
    encoding: "utf8",
  })
  if (created.status !== 0) throw new Error(`initdb failed: ${created.stderr}`)
  const options = { listen_addresses: "", unix_socket_directories: folder, port: `${PORT}`, ...settings }
  const args = Object.entries(options).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  let server: ChildProcess | undefined
  let ended: Promise<void> = Promise.resolve()

  const start = async (): Promise<void> => {
    const child = spawn(join(bin, "postgres"), ["-D", data, ...args], { ...given, stdio: ["ignore", "ignore", "pipe"] })
    server = child
    let log = ""
    ended = new Promise((resolve) => child.on("exit", () => resolve()))
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`PostgreSQL did not start: ${log}`)), READY_MS)
      child.on("error", reject)
      child.on("exit", () => reject(new Error(`PostgreSQL did not start: ${log}`)))
      child.stderr.on("data", (text: Buffer) => {
        log = `${log}${text.toString()}`.slice(-4_000)
        if (log.includes("ready to accept connections")) resolve()
      })
      ended.then(() => clearTimeout(timer))
    })
  }
  const end = async (signal: "SIGQUIT" | "SIGKILL"): Promise<void> => {
    server?.kill(signal)
    await ended
  }
  // A process that ends without `stop` does not leave a server.
  const endAtExit = (): void => {
    server?.kill("SIGQUIT")
    rmSync(folder, { recursive: true, force: true })
  }
  process.once("exit", endAtExit)
  try {
    await start()
  } catch (error) {
    endAtExit()
    throw error
  }
  return {
    connection: { host: folder, port: PORT, user: "postgres", database: "postgres" },
    get pid() {
      return server?.pid ?? 0
    },
    kill: () => end("SIGKILL"),
    async restart() {
      // The processes of the server that was killed end when they notice it.
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await start()
        } catch (error) {
          if (attempt === 50) throw error
          await new Promise((resolve) => setTimeout(resolve, 100))
        }
      }
    },
    async stop() {
      process.off("exit", endAtExit)
      // Ends the server at once: its data is not needed any longer.
      await end("SIGQUIT")
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** PostgreSQL refuses to run as root: then it runs as the user of Debian's package, or as one without rights. */
function userToRunAs(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = ["-u", "-g"].map((flag) => Number.parseInt(spawnSync("id", [flag, name], { encoding: "utf8" }).stdout, 10))
    if (uid !== undefined && gid !== undefined && uid > 0) return { uid, gid }
  }
  return undefined
}
