import { execFile } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { ROOT } from "./built.ts"

/** A small package with the folders of this one: what each file imports, and the rules that it breaks. A circle is reported once. */
const FILES: Readonly<Record<string, { readonly code: string; readonly breaks?: readonly string[] }>> = {
  "src/errors.ts": { code: "export const error = 1" },
  "src/index.ts": { code: 'export * from "./machine/turn.ts"' },
  "src/validated-turn-machine.ts": { code: 'import "./machine/turn.ts"\nimport "./checks/validation.ts"' },
  "src/machine/config.ts": { code: 'import type { D } from "./driver.ts"\nexport type C = D' },
  "src/machine/turn.ts": { code: 'import type { C } from "./config.ts"\nimport "./apply-actions.ts"\nimport "../errors.ts"\nexport type T = C' },
  "src/machine/driver.ts": { code: 'import type { P } from "../projectors/projector.ts"\nexport type D = P' },
  "src/machine/apply-actions.ts": { code: 'import "immer"\nimport type { M } from "../wire/message.ts"\nexport type A = M' },
  "src/wire/message.ts": { code: "export type M = 1" },
  "src/drivers/chat.ts": {
    code: 'import "../machine/turn.ts"\nimport "../projectors/chat.ts"\nimport type { M } from "../wire/message.ts"\nexport type C = M',
  },
  "src/drivers/approval/digests.ts": { code: 'import "@noble/hashes"' },
  "src/projectors/projector.ts": { code: 'import type { M } from "../wire/message.ts"\nexport type P = M' },
  "src/projectors/chat.ts": { code: 'import type { P } from "./projector.ts"\nimport "../errors.ts"\nexport type C = P' },
  "src/replay/journal.ts": { code: 'import "../drivers/chat.ts"\nimport "../machine/turn.ts"' },
  "src/schemas/message.ts": { code: 'import * as z from "zod"\nexport type M = z.ZodType' },
  "src/hosts/host.ts": {
    code: 'import "../validated-turn-machine.ts"\nimport type { M } from "../schemas/message.ts"\nimport "../projectors/projector.ts"\nexport type X = M',
    breaks: ["the-host-contract-is-a-leaf"],
  },
  "src/hosts/timers.ts": { code: 'import "./tools/define-tool.ts"', breaks: ["the-host-contract-is-a-leaf"] },
  "src/hosts/attachments/store.ts": { code: 'import type { M } from "../../wire/message.ts"\nexport type A = M' },
  "src/hosts/node/index.ts": { code: 'import "node:fs"\nimport "../journal/store.ts"\nimport "../attachments/store.ts"' },
  "src/hosts/run/run-turn.ts": { code: 'import "../host.ts"\nimport "../../machine/turn.ts"' },
  "src/hosts/run/failures.ts": { code: 'import "../host.ts"' },
  "src/hosts/tools/define-tool.ts": { code: 'import * as z from "zod"\nimport "../run/failures.ts"\nexport const tool = z' },
  "src/hosts/models/openai-compatible.ts": { code: 'import "../host.ts"\nimport "../../projectors/openai-chat/index.ts"' },
  "src/hosts/ai-sdk/index.ts": { code: 'import "../host.ts"\nimport "../models/retry.ts"\nimport "../../projectors/openai-chat/index.ts"' },
  "src/hosts/models/retry.ts": { code: 'import "../timers.ts"' },
  "src/hosts/models/sse.ts": { code: 'import "eventsource-parser"' },
  "src/hosts/journal/store.ts": { code: 'import "../run/run-turn.ts"\nimport "../../replay/journal.ts"' },
  "src/hosts/thread/index.ts": { code: 'import "./thread.ts"\nimport "../judge/judged-thread.ts"' },
  "src/hosts/thread/thread.ts": { code: 'import "../journal/store.ts"\nimport "../../drivers/chat.ts"' },
  "src/hosts/judge/judged-thread.ts": { code: 'import "../thread/thread.ts"' },
  "src/hosts/opentelemetry/index.ts": { code: 'import "@opentelemetry/api"\nimport "../host.ts"\nimport "./spans.ts"' },
  "src/hosts/opentelemetry/spans.ts": { code: 'import type { Span } from "@opentelemetry/api"\nexport type X = Span' },
  "src/hosts/restate/index.ts": { code: 'import "@restatedev/restate-sdk"\nimport "../run/run-turn.ts"\nimport "../thread/thread.ts"' },
  "src/projectors/wires/wire.ts": { code: 'import type { P } from "../../wire/message.ts"\nexport type W = P' },
  "src/projectors/wires/knows-a-wire.ts": { code: 'import "../gemini/index.ts"', breaks: ["projectors-wires-reaches-only"] },
  "src/projectors/openai-chat/index.ts": { code: 'import "../wires/wire.ts"' },
  "src/projectors/openai-chat/knows-a-projector.ts": { code: 'import "../projector.ts"', breaks: ["projectors-openai-chat-reaches-only"] },
  "src/projectors/openai-responses/index.ts": { code: 'import "../wires/wire.ts"' },
  "src/projectors/anthropic-messages/index.ts": { code: 'import "../wires/wire.ts"' },
  "src/projectors/gemini/index.ts": { code: 'import "../wires/wire.ts"' },
  "src/projectors/gemini/knows-another.ts": { code: 'import "../openai-chat/index.ts"', breaks: ["projectors-gemini-reaches-only"] },
  "src/testing/arbitraries.ts": { code: 'import "fast-check"\nimport "../hosts/host.ts"' },
  "src/cli/main.ts": {
    code: 'import "node:fs"\nimport "../index.ts"\nimport "../hosts/host.ts"\nimport "../hosts/node/index.ts"\nimport * as z from "zod"\nexport const main = z',
  },

  "src/cli/terminal/screen.ts": { code: 'import "node:path"' },
  "src/cli/workspace/tools.ts": { code: 'import "../terminal/screen.ts"\nimport "../../hosts/host.ts"' },
  "src/cli/trust/confirm.ts": { code: 'import "../terminal/screen.ts"\nimport "../../hosts/node/index.ts"' },
  "src/cli/planner/planner.ts": { code: 'import "../workspace/tools.ts"\nimport "../../schemas/message.ts"' },
  "src/cli/run/run.ts": { code: 'import "../planner/planner.ts"\nimport "../terminal/screen.ts"\nimport "../../hosts/node/index.ts"' },
  "src/cli/goal/goal.ts": { code: 'import "../run/run.ts"\nimport "../../hosts/thread/thread.ts"' },
  "src/cli/journal/show.ts": { code: 'import "../run/run.ts"\nimport "../terminal/screen.ts"\nimport "../../replay/journal.ts"' },
  "src/cli/journal/journal.ts": { code: 'import "../view/view.ts"' },
  "src/cli/view/view.ts": { code: 'import "../goal/goal.ts"\nimport "../run/run.ts"\nimport "../../viewer/model/rows.ts"' },
  "src/viewer/model/rows.ts": { code: 'import "../../replay/journal.ts"\nimport "../../hosts/models/prices.ts"\nimport "../../drivers/chat.ts"' },
  "src/viewer/page/main.ts": { code: 'import "preact"\nimport "../model/rows.ts"' },
  "src/hosts/models/prices.ts": { code: "export const price = 1" },

  "src/viewer/model/to-host.ts": { code: 'import "../../hosts/host.ts"', breaks: ["viewer-reaches-only"] },
  "src/viewer/model/to-page.ts": { code: 'import "../page/main.ts"', breaks: ["the-viewer-model-draws-nothing"] },
  "src/viewer/model/with-preact.ts": { code: 'import "preact"', breaks: ["preact-in-its-place"] },
  "src/hosts/to-viewer.ts": { code: 'import "../viewer/model/rows.ts"', breaks: ["only-the-command-line-imports-the-viewer"] },
  "src/cli/view/to-journal.ts": { code: 'import "../journal/show.ts"', breaks: ["cli-view-reaches-only"] },
  "src/broken.ts": { code: 'import "./machine/turn.ts"', breaks: ["shared-files-are-leaves"] },
  "src/machine/to-host.ts": { code: 'import "../hosts/host.ts"', breaks: ["machine-reaches-only"] },
  "src/machine/to-driver.ts": { code: 'import type { C } from "../drivers/chat.ts"\nexport type X = C', breaks: ["machine-reaches-only"] },
  "src/machine/to-projector.ts": { code: 'import type { C } from "../projectors/chat.ts"\nexport type X = C', breaks: ["machine-reaches-only"] },
  "src/machine/to-schema.ts": { code: 'import type { M } from "../schemas/message.ts"\nexport type X = M', breaks: ["machine-reaches-only"] },
  "src/machine/to-wire.ts": { code: 'import "../wire/message.ts"', breaks: ["machine-takes-only-types"] },
  "src/wire/to-schema.ts": { code: 'import type { M } from "../schemas/message.ts"\nexport type X = M', breaks: ["wire-reaches-only"] },
  "src/machine/type-circle.ts": { code: 'import type { B } from "./type-circle-back.ts"\nexport type A = B | 1' },
  "src/machine/type-circle-back.ts": { code: 'import type { A } from "./type-circle.ts"\nexport type B = A', breaks: ["no-cycle"] },
  "src/drivers/approval/with-hashes.ts": { code: 'import "@noble/hashes"', breaks: ["@noble/hashes-in-its-place"] },
  "src/hosts/child/to-thread.ts": { code: 'import "../thread/thread.ts"\nimport "../tools/define-tool.ts"', breaks: ["hosts-child-reaches-only"] },
  "src/hosts/approval/to-journal.ts": { code: 'import "../journal/store.ts"', breaks: ["hosts-approval-reaches-only"] },
  "src/machine/with-immer.ts": { code: 'import "immer"', breaks: ["immer-in-its-place"] },
  "src/machine/with-zod.ts": { code: 'import type { ZodType } from "zod"\nexport type X = ZodType', breaks: ["zod-in-its-place"] },
  "src/machine/circle.ts": { code: 'import "./circle-back.ts"' },
  "src/machine/circle-back.ts": { code: 'import "./circle.ts"', breaks: ["no-cycle", "no-cycle-at-run-time"] },
  "src/drivers/to-replay.ts": { code: 'import "../replay/journal.ts"', breaks: ["drivers-reaches-only"] },
  "src/drivers/to-schema.ts": { code: 'import "../schemas/message.ts"', breaks: ["drivers-reaches-only"] },
  "src/drivers/to-front.ts": { code: 'import "../index.ts"', breaks: ["drivers-reaches-only", "layers-do-not-import-the-front-door"] },
  "src/projectors/to-machine.ts": { code: 'import type { T } from "../machine/turn.ts"\nexport type X = T', breaks: ["projectors-reaches-only"] },
  "src/projectors/to-schema.ts": { code: 'import "../schemas/message.ts"', breaks: ["projectors-reaches-only"] },
  "src/replay/to-host.ts": { code: 'import "../hosts/host.ts"', breaks: ["replay-reaches-only"] },
  "src/replay/to-schema.ts": { code: 'import "../schemas/message.ts"', breaks: ["replay-reaches-only"] },
  "src/schemas/to-machine.ts": { code: 'import type { C } from "../machine/config.ts"\nexport type X = C', breaks: ["schemas-reaches-only"] },
  "src/schemas/to-check.ts": { code: 'import "../checks/validation.ts"' },
  "src/checks/validation.ts": { code: 'import "../machine/config.ts"', breaks: ["validation-takes-only-types"] },
  "src/checks/to-machine.ts": {
    code: 'import type { C } from "../machine/config.ts"\nexport type X = C',
    breaks: ["only-validation-knows-the-machine"],
  },
  "src/checks/to-schema.ts": { code: 'import "../schemas/message.ts"', breaks: ["checks-reaches-only"] },
  "src/checks/with-zod.ts": { code: 'import "zod"', breaks: ["zod-in-its-place"] },
  "src/hosts/to-schema.ts": { code: 'import "../schemas/message.ts"', breaks: ["hosts-take-only-types-of-schemas"] },
  "src/schemas/to-driver.ts": { code: 'import "../drivers/chat.ts"', breaks: ["schemas-reaches-only"] },
  "src/hosts/run/to-journal.ts": { code: 'import "../journal/store.ts"', breaks: ["hosts-run-reaches-only"] },
  "src/hosts/attachments/to-tools.ts": { code: 'import "../tools/define-tool.ts"', breaks: ["hosts-attachments-reaches-only"] },
  "src/hosts/tools/to-loop.ts": { code: 'import "../run/run-turn.ts"', breaks: ["hosts-tools-reaches-only"] },
  "src/hosts/models/to-loop.ts": { code: 'import "../run/run-turn.ts"', breaks: ["hosts-models-reaches-only"] },
  "src/hosts/ai-sdk/to-client.ts": { code: 'import "../models/openai-compatible.ts"', breaks: ["hosts-ai-sdk-reaches-only"] },
  "src/hosts/journal/to-thread.ts": { code: 'import "../thread/thread.ts"', breaks: ["hosts-journal-reaches-only"] },
  "src/hosts/thread/to-judge.ts": { code: 'import "../judge/judged-thread.ts"', breaks: ["hosts-thread-reaches-only"] },
  "src/hosts/judge/to-tools.ts": { code: 'import "../tools/define-tool.ts"', breaks: ["hosts-judge-reaches-only"] },
  "src/hosts/opentelemetry/to-journal.ts": { code: 'import "../journal/store.ts"', breaks: ["hosts-opentelemetry-reaches-only"] },
  "src/hosts/restate/to-models.ts": { code: 'import "../models/sse.ts"', breaks: ["hosts-restate-reaches-only"] },
  "src/hosts/node/to-loop.ts": { code: 'import "../run/run-turn.ts"', breaks: ["hosts-node-reaches-only"] },
  "src/projectors/openai-chat/to-chat.ts": { code: 'import "../chat.ts"', breaks: ["projectors-openai-chat-reaches-only"] },
  "src/hosts/to-cli.ts": { code: 'import "../cli/main.ts"', breaks: ["nothing-imports-the-command-line"] },
  "src/hosts/to-testing.ts": { code: 'import "../testing/arbitraries.ts"', breaks: ["nothing-imports-the-test-helpers"] },
  "src/cli/terminal/to-run.ts": { code: 'import "../run/run.ts"', breaks: ["cli-terminal-reaches-only"] },
  "src/cli/workspace/to-run.ts": { code: 'import "../run/run.ts"', breaks: ["cli-workspace-reaches-only"] },
  "src/cli/planner/to-run.ts": { code: 'import "../run/run.ts"', breaks: ["cli-planner-reaches-only"] },
  "src/cli/trust/to-run.ts": { code: 'import "../run/run.ts"', breaks: ["cli-trust-reaches-only"] },
  "src/cli/run/to-journal.ts": { code: 'import "../journal/show.ts"', breaks: ["cli-run-reaches-only"] },
  "src/cli/goal/to-planner.ts": { code: 'import "../planner/planner.ts"', breaks: ["cli-goal-reaches-only"] },
  "src/cli/journal/to-goal.ts": { code: 'import "../goal/goal.ts"', breaks: ["cli-journal-reaches-only"] },
  "src/cli/to-testing.ts": { code: 'import "../testing/arbitraries.ts"', breaks: ["nothing-imports-the-test-helpers"] },
  "src/hosts/to-front.ts": { code: 'import "../index.ts"', breaks: ["layers-do-not-import-the-front-door"] },
  "src/hosts/with-node.ts": { code: 'import "node:fs"', breaks: ["no-node"] },
  "src/hosts/with-node-unprefixed.ts": { code: 'import "path"', breaks: ["no-node"] },
  "src/hosts/to-node.ts": { code: 'import "./node/index.ts"', breaks: ["only-the-command-line-imports-what-needs-node"] },
  "src/testing/to-node.ts": { code: 'import "../hosts/node/index.ts"', breaks: ["only-the-command-line-imports-what-needs-node"] },
  "src/hosts/node/with-zod.ts": { code: 'import "zod"', breaks: ["zod-in-its-place"] },
  "src/hosts/with-zod.ts": { code: 'import "zod"', breaks: ["zod-in-its-place"] },
  "src/hosts/models/with-streams.ts": { code: 'import "eventsource-parser"', breaks: ["eventsource-parser-in-its-place"] },
  "src/hosts/with-fast-check.ts": { code: 'import "fast-check"', breaks: ["fast-check-in-its-place"] },
  "src/hosts/with-telemetry.ts": {
    code: 'import type { Span } from "@opentelemetry/api"\nexport type X = Span',
    breaks: ["@opentelemetry/api-in-its-place"],
  },
  "src/hosts/restate/with-the-sdk.ts": { code: 'import "@restatedev/restate-sdk"', breaks: ["@restatedev/restate-sdk-in-its-place"] },
  "src/replay/with-checksums.ts": { code: 'import "crc-32"', breaks: ["no-other-package"] },
  "src/hosts/with-another.ts": { code: 'import "another"', breaks: ["no-other-package"] },
  "src/hosts/to-nowhere.ts": { code: 'import "./nowhere.ts"', breaks: ["no-other-package", "no-unresolvable"] },
  "src/hosts/circle.ts": { code: 'import type { B } from "./circle-back.ts"\nexport type A = B' },
  "src/hosts/circle-back.ts": { code: 'import type { A } from "./circle.ts"\nexport type B = A', breaks: ["no-cycle"] },
}

const scratch = mkdtempSync(join(tmpdir(), "turn-machine-layers-"))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

interface Violation {
  readonly from: string
  readonly rule: { readonly name: string }
}
let violations: readonly Violation[] = []

beforeAll(async () => {
  for (const name of [".dependency-cruiser.cjs", "tsconfig.json", "tsconfig.base.json"]) cpSync(join(ROOT, name), join(scratch, name))
  const packages = [
    "immer",
    "eventsource-parser",
    "@noble/hashes",
    "zod",
    "fast-check",
    "crc-32",
    "@opentelemetry/api",
    "@restatedev/restate-sdk",
    "another",
    "preact",
  ]
  write("package.json", JSON.stringify({ type: "module", dependencies: Object.fromEntries(packages.map((name) => [name, "1.0.0"])) }))
  for (const name of packages) {
    write(`node_modules/${name}/package.json`, JSON.stringify({ name, version: "1.0.0", main: "index.js" }))
    write(`node_modules/${name}/index.js`, "")
  }
  for (const [path, { code }] of Object.entries(FILES)) write(path, code)
  violations = await cruise()
})

function write(path: string, text: string): void {
  mkdirSync(dirname(join(scratch, path)), { recursive: true })
  writeFileSync(join(scratch, path), text)
}

async function cruise(): Promise<readonly Violation[]> {
  const args = [join(ROOT, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs"), "--config", ".dependency-cruiser.cjs", "-T", "json", "src"]
  const report = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, { cwd: scratch, maxBuffer: 64 * 1024 * 1024 }, (_error, stdout) => resolve(stdout))
  })
  return (JSON.parse(report) as { summary: { violations: Violation[] } }).summary.violations
}

function broken(path: string): readonly string[] {
  return [...new Set(violations.filter(({ from }) => from === path).map(({ rule }) => rule.name))].sort()
}

test.each(Object.entries(FILES))("%s", (path, { breaks }) => {
  expect(broken(path)).toEqual(breaks ?? [])
})
