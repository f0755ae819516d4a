/** Builds the page of `turn-machine journal view`: one HTML file with its code and style, which the command line puts the data into. */
import { createHash } from "node:crypto"
import { fileURLToPath } from "node:url"
import { deflateRawSync } from "node:zlib"
import { build } from "esbuild"
import { DATA_MARK, GENERATOR, TITLE_MARK } from "../src/viewer/model/embed.ts"

const ROOT = fileURLToPath(new URL("..", import.meta.url))

/**
 * Unpacks the page's code and runs it. The code has the machine in it, and packed it is a third of its size. The policy of the page lists the
 * digest of this script and that of the code, so the browser runs nothing else.
 */
const LOADER = `(async()=>{if(!CSS.supports("color","light-dark(#000,#fff)"))throw 0;const packed=Uint8Array.from(atob(document.getElementById("code").textContent),c=>c.charCodeAt(0));const text=await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).text();const code=document.createElement("script");code.textContent=text;document.body.append(code)})().catch(()=>{document.getElementById("app").textContent="This page needs a browser of 2024 or later."})`

/** Returns the page, with marks in the places of the title and of the data. */
export async function viewerPage(): Promise<string> {
  const [code, style] = await Promise.all([bundle("src/viewer/page/main.tsx"), bundle("src/viewer/page/style.css")])
  const policy = [
    "default-src 'none'",
    `script-src ${digest(LOADER)} ${digest(code)}`,
    `style-src ${digest(style)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ")
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="generator" content="${GENERATOR}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${TITLE_MARK}</title>
<style>${style}</style>
</head>
<body>
<div id="app"><noscript>This page needs JavaScript. It loads nothing and sends nothing.</noscript></div>
<script type="application/json" id="data">${DATA_MARK}</script>
<script type="text/plain" id="code">${deflateRawSync(code, { level: 9 }).toString("base64")}</script>
<script>${LOADER}</script>
</body>
</html>
`
}

async function bundle(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    absWorkingDir: ROOT,
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    define: { "process.env.NODE_ENV": '"production"' },
    write: false,
    logLevel: "error",
  })
  const [output] = outputFiles
  if (output === undefined) throw new Error(`esbuild made nothing of ${entry}.`)
  return output.text.trim()
}

function digest(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`
}
