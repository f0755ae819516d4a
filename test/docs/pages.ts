import { existsSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

/** What is wrong with a component of a page: its syntax, or a name that this package does not export. `undefined`: nothing. */
export async function pageProblem(root: string, text: string): Promise<string | undefined> {
  const compilerOptions = { jsx: ts.JsxEmit.ReactJSX, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  const { diagnostics = [] } = ts.transpileModule(text, { fileName: "page.tsx", reportDiagnostics: true, compilerOptions })
  const [fault] = diagnostics
  if (fault !== undefined) return ts.flattenDiagnosticMessageText(fault.messageText, "\n")
  for (const [, names = "", subpath = ""] of text.matchAll(/import \{([^}]*)\} from "turn-machine\/([^"]*)"/g)) {
    const file = join(root, "src", subpath, "index.ts")
    if (!existsSync(file)) return `turn-machine/${subpath} does not exist`
    const exported = Object.keys((await import(file)) as object)
    const missing = names
      .split(",")
      .map((name) => name.trim())
      .filter((name) => !name.startsWith("type ") && !exported.includes(name))
    if (missing.length > 0) return `turn-machine/${subpath} does not export ${missing.join(", ")}`
  }
  return undefined
}
