/**
 * Checks that every public name states its type, so that declarations can be made file by file and a changed body never
 * changes a public type. The compiler's own option holds for a whole program, which the tables, whose types are inferred by
 * design, are part of; so this checks each file separately.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"

/**
 * Exact literal types are what makes a wrong row of a table fail to compile.
 * The command line exports nothing to users.
 */
const INFERRED_BY_DESIGN = [join("src", "machine", "transitions.ts"), join("src", "drivers", "goal", "transitions.ts"), join("src", "cli")]

const files = readdirSync("src", { recursive: true, encoding: "utf8" })
  .map((name) => join("src", name))
  .filter((file) => file.endsWith(".ts") && !INFERRED_BY_DESIGN.some((path) => file.startsWith(path)))

const compilerOptions: ts.CompilerOptions = { target: ts.ScriptTarget.ES2022, isolatedDeclarations: true, declaration: true, strict: true }
const diagnostics = files.flatMap(
  (fileName) => ts.transpileDeclaration(readFileSync(fileName, "utf8"), { fileName, reportDiagnostics: true, compilerOptions }).diagnostics ?? [],
)
if (diagnostics.length > 0) {
  const host: ts.FormatDiagnosticsHost = { getCurrentDirectory: () => process.cwd(), getCanonicalFileName: (name) => name, getNewLine: () => "\n" }
  process.stderr.write(ts.formatDiagnostics(diagnostics, host))
  process.exit(1)
}
