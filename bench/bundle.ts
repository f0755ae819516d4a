import { mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { buildSync } from "esbuild"

export const ROOT = fileURLToPath(new URL("..", import.meta.url))

/**
 * Bundles each source (a module's text, resolved as a file of this folder) into a script with zod and immer beside it, as in
 * an installed package. Passes the scripts' paths to `use` and deletes them when it returns.
 */
export function bundled<Name extends string, Result>(
  sources: { readonly [Key in Name]: string },
  use: (paths: { readonly [Key in Name]: string }) => Result,
): Result {
  const folder = mkdtempSync(join(ROOT, "node_modules", ".bench-"))
  try {
    const paths = {} as { [Key in Name]: string }
    for (const name of Object.keys(sources) as Name[]) {
      paths[name] = join(folder, `${name}.mjs`)
      const stdin = { contents: sources[name], resolveDir: join(ROOT, "bench"), loader: "ts" } as const
      buildSync({
        stdin,
        outfile: paths[name],
        bundle: true,
        platform: "node",
        format: "esm",
        external: ["zod", "immer"],
        ignoreAnnotations: true,
        logLevel: "error",
      })
    }
    return use(paths)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
