import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

/** Bundles service.ts into a folder, and returns the program: it starts in a fraction of the time, and tests start it often. */
export async function bundle(folder: string): Promise<string> {
  const program = join(folder, "service.mjs")
  await build({
    entryPoints: [fileURLToPath(new URL("service.ts", import.meta.url))],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url)' },
    logLevel: "error",
  })
  return program
}
