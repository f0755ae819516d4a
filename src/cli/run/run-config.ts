import { chatDriver } from "../../drivers/chat.ts"
import { toolbox } from "../../hosts/tools/toolbox.ts"
import type { TurnConfig } from "../../machine/turn.ts"
import { chatProjector } from "../../projectors/chat.ts"
import type { TurnStart } from "../../schemas/config.ts"
import type { ToolSpec } from "../../schemas/tool.ts"
import { Folder } from "../workspace/folder.ts"
import { OutFolder } from "../workspace/out-folder.ts"
import { fileTools } from "../workspace/tools.ts"
import type { RunMeta } from "./run-meta.ts"

const SYSTEM_PROMPT = `You work on the files of one folder with the tools you are given.
Paths are relative to that folder; nothing outside of it can be read. What you write goes to a separate output folder, so no file that you read is changed.
Ask for several tools in one answer where they do not wait for each other. Where a tool says that something was cut, ask for the rest if it matters.
When you are done, answer in a few sentences with what you found and where you wrote it. Say what you could not do; do not guess.`

/** The turn of a run: the same for the same model and limit, in whichever process. */
export function runConfig({ model, maxIterations }: Pick<RunMeta, "model" | "maxIterations">, tools: readonly ToolSpec[]): TurnConfig {
  return {
    driver: chatDriver(),
    projector: chatProjector,
    model,
    sessionId: "run",
    systemPrompt: SYSTEM_PROMPT,
    tools,
    maxIterations,
    generation: {},
    syncExecutionSurface: false,
    autonomous: true,
    emitLlmTrace: false,
  }
}

/** The same for a turn that is only read: its tools are named, and never run. */
export function recordedConfig(meta: RunMeta): TurnConfig {
  return runConfig(meta, toolbox(fileTools(new Folder(meta.dir), new OutFolder(meta.out))).specs)
}

export function runStart(task: string): TurnStart {
  return { messages: [{ id: "task", role: "user", parts: [{ id: "task.p0", type: "text", text: task }] }] }
}
