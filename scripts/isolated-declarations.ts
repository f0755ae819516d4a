/**
 * Checks that every public name states its type, so that declarations can be made file by file and a changed body never
 * changes a public type. The compiler's own option holds for a whole program, which the schemas, whose types are inferred by
 * design, are part of; so each file is asked by itself here.
 */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

const CHECKED = [
  "src/machine",
  "src/drivers",
  "src/projectors",
  "src/replay",
  "src/hosts",
  "src/testing",
  "src/errors.ts",
  "src/json.ts",
  "src/text.ts",
  "src/turn-machine.ts",
]

/** The tables' exact literal types are what makes a wrong row fail to compile. */
const INFERRED_BY_DESIGN = new Set(["src/machine/transitions.ts"])

const files = CHECKED.flatMap(sources).filter((file) => !INFERRED_BY_DESIGN.has(file))
const diagnostics = files.flatMap((fileName) => {
  const compilerOptions: ts.CompilerOptions = { target: ts.ScriptTarget.ES2022, isolatedDeclarations: true, declaration: true, strict: true }
  return ts.transpileDeclaration(readFileSync(fileName, "utf8"), { fileName, reportDiagnostics: true, compilerOptions }).diagnostics ?? []
})
if (diagnostics.length > 0) {
  const host: ts.FormatDiagnosticsHost = { getCurrentDirectory: () => process.cwd(), getCanonicalFileName: (name) => name, getNewLine: () => "\n" }
  process.stderr.write(ts.formatDiagnostics(diagnostics, host))
  process.exit(1)
}

function sources(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return []
  if (stat.isFile()) return [path]
  return readdirSync(path)
    .flatMap((name) => sources(join(path, name)))
    .filter((file) => file.endsWith(".ts"))
}
