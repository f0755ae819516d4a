import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { build } from "esbuild"

export interface SizeFigures {
  readonly entry: string
  readonly gzipped: number
  /** Without zod and immer. */
  readonly ownGzipped: number
}

const ENTRIES = { "turn-machine": "../src/index.ts", "turn-machine/machine": "../src/machine/index.ts" } as const

export async function measureSizes(): Promise<readonly SizeFigures[]> {
  const figures: SizeFigures[] = []
  for (const [entry, path] of Object.entries(ENTRIES)) {
    figures.push({ entry, gzipped: await bundle(path, []), ownGzipped: await bundle(path, ["zod", "immer"]) })
  }
  return figures
}

async function bundle(path: string, external: readonly string[]): Promise<number> {
  const result = await build({
    entryPoints: [fileURLToPath(new URL(path, import.meta.url))],
    bundle: true,
    minify: true,
    format: "esm",
    write: false,
    external: [...external],
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "error",
  })
  return gzipSync(result.outputFiles[0]?.contents ?? new Uint8Array(), { level: 9 }).length
}
