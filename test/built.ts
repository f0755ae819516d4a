import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** The package's folder. */
export const ROOT: string = fileURLToPath(new URL("..", import.meta.url))

const PAGE = join(ROOT, "src/viewer/page/")
const BUILT_PAGE = join(ROOT, "dist/viewer/page.html")

/** Throws unless what is in `dist` was built from these folders of `src` as they are: a test of an older build proves nothing. */
export function requireFreshBuild(folders: readonly string[]): void {
  for (const folder of folders) {
    for (const name of readdirSync(join(ROOT, "src", folder), { recursive: true, encoding: "utf8" })) {
      const source = join(ROOT, "src", folder, name)
      // The viewer's page is one file, which the build makes of all that is in its folder.
      const isPage = source.startsWith(PAGE)
      if (!(isPage ? /\.(tsx?|css)$/ : /\.ts$/).test(name)) continue
      const built = statSync(isPage ? BUILT_PAGE : join(ROOT, "dist", folder, name.replace(/\.ts$/, ".js")), { throwIfNoEntry: false })
      if (built === undefined || built.mtimeMs < statSync(source).mtimeMs) throw new Error(`${source} is newer than its build: run npm run build.`)
    }
  }
}
