import { fileURLToPath } from "node:url"
import { build } from "esbuild"

/** The files of the page. */
export interface Page {
  readonly html: string
  readonly script: string
  readonly style: string
}

const HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<title>Chat</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect x='1' y='2' width='14' height='10' rx='4' fill='%23386a5c'/%3E%3Cpath d='M5 11v4l4-4z' fill='%23386a5c'/%3E%3C/svg%3E">
<link rel="stylesheet" href="/app.css">
<script type="module" src="/app.js"></script>
</head>
<body><div id="app"></div><noscript>This page needs JavaScript.</noscript></body>
</html>
`

/** Bundles the page. */
export async function buildPage(): Promise<Page> {
  const { outputFiles } = await build({
    entryPoints: ["app.tsx", "app.css"].map((name) => fileURLToPath(new URL(`web/${name}`, import.meta.url))),
    outdir: "out",
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: "es2022",
    jsx: "automatic",
    minify: true,
    legalComments: "none",
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "error",
  })
  const textOf = (ending: string) => outputFiles.find(({ path }) => path.endsWith(ending))?.text ?? ""
  return { html: HTML, script: textOf(".js"), style: textOf(".css") }
}
