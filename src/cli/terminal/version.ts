import { readFileSync } from "node:fs"

/** The version of this package; `unknown` where its files are not beside the program, as in a bundle. */
export function version(): string {
  try {
    const { version: found } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { readonly version: string }
    return found
  } catch {
    return "unknown"
  }
}
