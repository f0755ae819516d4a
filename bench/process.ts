import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { bundled, ROOT } from "./bundle.ts"
import { median } from "./rounds.ts"

export interface ProcessFigures {
  readonly importBytes: number
  readonly turnBytes: number
  readonly importMs: number
  readonly coreImportMs: number
  readonly zodImportMs: number
}

/** Measures memory and import time, each in separate processes. */
export function measureProcess(): ProcessFigures {
  const sources = {
    whole: 'export * from "../src/index.ts"',
    core: 'export * from "../src/machine/index.ts"',
    run: 'export * from "../src/index.ts"; export * from "./script.ts"',
  }
  return bundled(sources, ({ whole, core, run }) => ({
    ...measureMemory(run),
    importMs: timeImport(whole),
    coreImportMs: timeImport(core),
    zodImportMs: timeImport(join(ROOT, "node_modules/zod/index.js")),
  }))
}

/** The peak of the resident set before and after one turn of 1,000 iterations. Answers are created on demand. */
function measureMemory(run: string): Pick<ProcessFigures, "importBytes" | "turnBytes"> {
  const source = `const atStart = process.resourceUsage().maxRSS
const { CONFIG, answer, START, TurnMachine, chatDriver, chatProjector } = await import(${JSON.stringify(pathToFileURL(run).href)})
const imported = process.resourceUsage().maxRSS
const machine = new TurnMachine({ ...CONFIG, driver: chatDriver(), projector: chatProjector }, START)
while (!machine.done) {
  while (machine.poll() !== undefined);
  if (machine.outstanding) machine.handle(answer(machine.outstanding, machine.iteration, 1000))
}
const ran = process.resourceUsage().maxRSS
console.log(JSON.stringify({ importBytes: (imported - atStart) * 1024, turnBytes: (ran - imported) * 1024 }))`
  const samples = [1, 2, 3, 4, 5].map(() => JSON.parse(evaluate(source)) as { importBytes: number; turnBytes: number })
  return { importBytes: median(samples.map((sample) => sample.importBytes)), turnBytes: median(samples.map((sample) => sample.turnBytes)) }
}

function timeImport(file: string): number {
  const source = `const start = performance.now(); await import(${JSON.stringify(pathToFileURL(file).href)}); console.log(performance.now() - start)`
  return median([1, 2, 3, 4, 5, 6, 7].map(() => Number(evaluate(source))))
}

function evaluate(source: string): string {
  return execFileSync(process.execPath, ["--input-type=module", "-e", source], { encoding: "utf8" })
}
