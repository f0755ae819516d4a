// The sizes of bundles, minified and compressed. size-limit leaves out all peer dependencies; entries "with zod" bundle it.

/** @param {{ external?: string[] }} config */
const withZod = (config) => ({ ...config, external: (config.external ?? []).filter((name) => !name.startsWith("zod")) })

const HOST = {
  "./dist/index.js": "{ TurnMachine, chatDriver, chatProjector }",
  "./dist/hosts/index.js": "{ runTurn, defineTool, toolbox }",
}

/** What a worker at the edge bundles: the machine without its validation, the loop and tools. */
const EDGE = {
  "./dist/machine/index.js": "{ TurnMachine }",
  "./dist/hosts/index.js": "{ runTurn, defineTool, toolbox }",
}

// The limits of the host bundles were 60 and 25 kB. What a model said part by part, cut-off answers, calls that a driver settles and the
// positions of broken arguments, each with its schema, took 6 kB of code. Held calls, with the checks of their saved state, took 4 kB of
// the machine and 2 kB of the run loop. Redirecting, compaction records and children took 0.4 kB of the machine and 2.5 kB of the run loop. Turns that
// end with a value took 1.5 kB of the chat driver. Checks as plain code instead of schemas took 4 kB more of our code, and 26 kB of zod less. Records that are parsed when
// they are read took 1 kB of the journals' reader.
export default [
  { name: "turn-machine/machine, without immer", path: "dist/machine/index.js", ignore: ["immer"], gzip: true, limit: "23 kB" },
  { name: "turn-machine/machine, with immer", path: "dist/machine/index.js", gzip: true },
  {
    name: "what a chat host bundles, without immer",
    import: {
      "./dist/machine/index.js": "{ TurnMachine }",
      "./dist/drivers/index.js": "{ chatDriver }",
      "./dist/projectors/index.js": "{ chatProjector }",
    },
    ignore: ["immer"],
    gzip: true,
  },
  // It has no zod: a limit that holds with zod bundled shows it.
  { name: "turn-machine, with immer", path: "dist/index.js", gzip: true, limit: "52 kB", modifyEsbuildConfig: withZod },
  { name: "a host with runTurn and defineTool, with zod and immer", import: HOST, gzip: true, limit: "74 kB", modifyEsbuildConfig: withZod },
  { name: "a host with runTurn and defineTool, without zod and immer", import: HOST, ignore: ["immer"], gzip: true, limit: "59 kB" },
  // defineTool has 14 kB: zod's JSON Schema and its English messages. All languages of zod would be 70 kB more.
  { name: "an edge host with runTurn and defineTool, with zod and immer", import: EDGE, gzip: true, limit: "56 kB", modifyEsbuildConfig: withZod },
  // What a page bundles: it has no zod, no immer and no machine.
  {
    name: "what a chat page bundles",
    import: { "./dist/hosts/ui-stream/index.js": "{ resumingFetch }", "./dist/projectors/ui-stream/index.js": "{ withoutRetracted }" },
    gzip: true,
    limit: "2 kB",
  },
  { name: "turn-machine/projectors/ui-stream", path: "dist/projectors/ui-stream/index.js", gzip: true, limit: "7 kB" },
  // All of the page but the journal: its code, packed, with the machine, the drivers and preact, and its style.
  {
    name: "the page of journal view, without data",
    path: "dist/viewer/page.html",
    disablePlugins: ["@size-limit/esbuild"],
    gzip: false,
    brotli: false,
    limit: "150 kB",
  },
]
