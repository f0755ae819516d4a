import { homedir } from "node:os"
import { join } from "node:path"
import type { AttachmentStore, JournalStore } from "turn-machine/hosts"
import { fileAttachmentStore, fileJournalStore } from "turn-machine/hosts/node"

/** Where the agent stores its sessions. */
export interface Storage {
  readonly store: JournalStore
  readonly attachments: AttachmentStore
  /** How long to wait for a session that another process has open. It may just have been killed. Milliseconds. */
  readonly waitMs: number
}

export function fileStorage(folder: string, waitMs = 10_000): Storage {
  return { store: fileJournalStore(join(folder, "sessions")), attachments: fileAttachmentStore(join(folder, "attachments")), waitMs }
}

/** The folder for the state of this program, as each system has it. */
export function stateFolder(env: NodeJS.ProcessEnv): string {
  const chosen = env["ACP_AGENT_STATE"]
  if (chosen !== undefined) return chosen
  const bases: { readonly [platform: string]: string | undefined } = {
    win32: env["LOCALAPPDATA"],
    darwin: join(homedir(), "Library/Application Support"),
  }
  return join(bases[process.platform] ?? env["XDG_STATE_HOME"] ?? join(homedir(), ".local/state"), "turn-machine-acp")
}
