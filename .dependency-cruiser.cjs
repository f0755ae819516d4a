/**
 * Which folder may import which. Dependencies point one way, hosts → replay → drivers → machine; projectors and schemas are
 * leaves. Type-only imports are erased, so they affect no bundle and no runtime; each rule says whether it applies to them.
 */

/** Files beside the folders that every folder may use (errors, JSON, text, …): all but the two that gather the layers. */
const SHARED = "^src/(?!index\\.ts$|validated-turn-machine\\.ts$)[^/]+\\.ts$"
const INSTALLED = "^node_modules/"

/** A folder reaches only itself, the shared files, and these. What it imports from npm has rules of its own. */
function only(folder, others, comment) {
  return {
    name: `${folder}-reaches-only`,
    severity: "error",
    comment,
    from: { path: `^src/${folder}/` },
    to: { pathNot: [`^src/${folder}/`, SHARED, INSTALLED, ...others], dependencyTypesNot: ["core"] },
  }
}

const HOST = "^src/hosts/host\\.ts$"
const HOSTS = "^src/hosts/"
const ATTACHMENTS = "^src/hosts/attachments/"
const TIMERS = "^src/hosts/timers\\.ts$"

/** A room of a folder reaches only itself and these of the other rooms beside it; the folder's own rule covers the rest. Its index may gather more. */
function room(name, others, comment) {
  const [folder] = name.split("/")
  return {
    name: `${name.replaceAll("/", "-")}-reaches-only`,
    severity: "error",
    comment,
    from: { path: `^src/${name}/`, pathNot: "^src/hosts/thread/index\\.ts$" },
    to: { path: `^src/(${folder}|hosts|cli)/`, pathNot: [`^src/${name}/`, ...others] },
  }
}

/** Types may come from there, values may not. */
function typesOnly(name, from, to, comment) {
  return { name, severity: "error", comment, from: { path: from }, to: { path: to, dependencyTypesNot: ["type-only"] } }
}

/** An installed package has its places; elsewhere it may not even be named as a type. */
function packageOnlyIn(name, places, comment) {
  return {
    name: `${name}-in-its-place`,
    severity: "error",
    comment,
    from: { path: "^src/", pathNot: places },
    to: { path: `^${name}($|/)|^node_modules/${name}/` },
  }
}

module.exports = {
  forbidden: [
    only(
      "machine",
      ["^src/wire/", "^src/projectors/projector\\.ts$"],
      "The machine knows no driver, no host, no schema and no provider's format. Its declarations need no zod, either.",
    ),
    typesOnly(
      "machine-takes-only-types",
      "^src/machine/",
      "^src/(wire|projectors)/",
      "The core is bundled without zod and without projectors: checks and the projector are given in the config.",
    ),
    only("drivers", ["^src/machine/", "^src/wire/", "^src/projectors/"], "A driver is policy over the machine; it knows no journal and no host."),
    only("projectors", ["^src/wire/"], "Projectors are leaves: transcript in, request out. Checking costs zod, so no pure folder knows the schemas."),
    only(
      "replay",
      ["^src/drivers/", "^src/machine/", "^src/wire/", "^src/projectors/", "^src/validated-turn-machine\\.ts$"],
      "A journal is folded without a host.",
    ),
    only(
      "viewer",
      ["^src/machine/", "^src/wire/", "^src/projectors/", "^src/drivers/", "^src/replay/", "^src/hosts/models/prices\\.ts$"],
      "The viewer's page replays journals in a browser: it knows no host, no store and no command.",
    ),
    {
      name: "the-viewer-model-draws-nothing",
      severity: "error",
      comment: "What the page knows of a journal is plain functions, which the command line uses, too; it is compiled without the page.",
      from: { path: "^src/viewer/", pathNot: "^src/viewer/page/" },
      to: { path: "^src/viewer/page/" },
    },
    {
      name: "only-the-command-line-imports-the-viewer",
      severity: "error",
      comment: "The page is a file of the command line; no library has it.",
      from: { pathNot: "^src/(cli/view|viewer)/" },
      to: { path: "^src/viewer/" },
    },
    room("hosts/run", [HOST, TIMERS], "The loop performs effects; it knows no journal store, no model client and no thread."),
    room(
      "hosts/tools",
      [HOST, TIMERS, ATTACHMENTS, "^src/hosts/run/(failures|lazy-signal|plain-json)\\.ts$"],
      "A tool is an executor with a schema; it knows no loop.",
    ),
    room(
      "hosts/models",
      [HOST, TIMERS, ATTACHMENTS, "^src/projectors/(wires|openai-chat|openai-responses|anthropic-messages|gemini)/"],
      "A model client is an executor; it knows no loop.",
    ),
    room(
      "hosts/mcp",
      [HOST, TIMERS, ATTACHMENTS, "^src/hosts/run/(failures|plain-json)\\.ts$", "^src/hosts/tools/"],
      "The tools of MCP servers are a toolbox; it knows no loop and no SDK.",
    ),
    room(
      "hosts/ai-sdk",
      [HOST, TIMERS, ATTACHMENTS, "^src/hosts/models/(check-options|data-urls|network-failures|retry|secrets|with-retry)\\.ts$"],
      "A model client over the AI SDK, by the shapes of its models; it imports none of its packages.",
    ),
    room("hosts/journal", [HOST, TIMERS, "^src/hosts/run/"], "What is stored: journals of turns and logs of threads; it knows no loop."),
    room(
      "hosts/thread",
      [HOST, TIMERS, "^src/hosts/(run|journal)/", "^src/hosts/child/turn-(tree|usage)\\.ts$"],
      "A thread runs turns in journals, and reads what their children used; a judge looks at it from outside.",
    ),
    room("hosts/judge", [HOST, TIMERS, "^src/hosts/(run|journal|thread)/"], "A judge rules on what a thread did."),
    room(
      "hosts/opentelemetry",
      [HOST, TIMERS, "^src/hosts/run/", "^src/hosts/models/prices\\.ts$"],
      "Spans and metrics around any host and any loop.",
    ),
    room(
      "hosts/restate",
      [HOST, TIMERS, "^src/hosts/(run|journal|thread)/"],
      "Turns and threads in handlers of Restate; it knows no journal store of ours.",
    ),
    room("hosts/child", [HOST, TIMERS, "^src/hosts/(run|journal|tools)/"], "A child is a tool that runs a turn in a journal; it knows no thread."),
    room(
      "hosts/cloudflare",
      [HOST, TIMERS, "^src/hosts/run/failures\\.ts$", "^src/hosts/(journal|thread)/"],
      "A store in a Durable Object, and a thread as one; they know no tool and no model.",
    ),
    room("hosts/postgres", [TIMERS, "^src/hosts/journal/"], "A journal store and a queue of work in a database; they know no loop."),
    room(
      "hosts/ui-stream",
      [HOST, TIMERS, ATTACHMENTS, "^src/projectors/ui-stream/"],
      "Requests and responses of a chat page, over the events of any thread; it runs nothing.",
    ),
    room("hosts/approval", [], "Signatures of requests; it knows no loop and no journal."),
    room("hosts/attachments", [], "A store of bytes; it knows no tool and no model."),
    room(
      "hosts/node",
      [TIMERS, ATTACHMENTS, "^src/hosts/journal/", "^src/hosts/thread/check-runner\\.ts$"],
      "Stores in files, and checks that are programs; they know no loop.",
    ),
    room("cli/terminal", [], "Text on a terminal; it knows no command."),
    room("cli/workspace", [HOSTS, "^src/cli/terminal/"], "Folders and the tools that read and write them; they know no command."),
    room("cli/planner", [HOSTS, "^src/cli/(terminal|workspace)/"], "The embedded model answers requests; it knows no command."),
    room(
      "cli/mcp",
      [HOSTS, "^src/cli/terminal/", "^src/cli/approvals/policy\\.ts$"],
      "The MCP servers of a command: which they are, and how they start and end; it knows no command.",
    ),
    room("cli/model", [HOSTS, "^src/cli/terminal/"], "The model of a command: where it is, how it is called and what it costs; it knows no command."),
    room("cli/approvals", [HOSTS, "^src/cli/(terminal|workspace)/"], "What is asked about held calls, and how; it knows no command."),
    room("cli/trust", [HOSTS, "^src/cli/(terminal|approvals|mcp|model)/"], "Whose settings count; it knows no command."),
    room(
      "cli/run",
      [HOSTS, "^src/cli/(terminal|workspace|approvals|planner|trust|mcp|model)/"],
      "A run is one turn; goals and journals build on it.",
    ),
    room("cli/goal", [HOSTS, "^src/cli/(terminal|workspace|approvals|trust|run|mcp|model)/"], "A goal is many runs; it knows no journal command."),
    room(
      "cli/view",
      [HOSTS, "^src/cli/(terminal|approvals|trust|run|goal|model)/"],
      "The page of runs and goals; it knows no other journal command.",
    ),
    room(
      "cli/journal",
      [HOSTS, "^src/cli/(terminal|approvals|trust|run|model)/", "^src/cli/view/view\\.ts$"],
      "Journal commands read what runs wrote; they know no goal.",
    ),
    room(
      "cli/decide",
      [HOSTS, "^src/cli/(terminal|approvals|trust|run|goal)/"],
      "Commands that list held calls and decide; no other command knows them.",
    ),
    room("projectors/wires", [], "What holds for every wire; it knows none of them."),
    room("projectors/openai-chat", ["^src/projectors/wires/"], "A wire is a room of its own."),
    room("projectors/openai-responses", ["^src/projectors/wires/"], "A wire is a room of its own."),
    room("projectors/anthropic-messages", ["^src/projectors/wires/"], "A wire is a room of its own."),
    room("projectors/ui-stream", [], "Events in, chunks out; it knows no wire of a model."),
    room("projectors/gemini", ["^src/projectors/wires/"], "A wire is a room of its own."),
    {
      name: "the-host-contract-is-a-leaf",
      severity: "error",
      comment:
        "src/hosts/host.ts is what executors implement, and timers.ts is shared by rooms: every room may import them, and they import no room, but for the contract of a store.",
      from: { path: [HOST, TIMERS] },
      to: { path: "^src/(hosts|replay|drivers|projectors)/", pathNot: "^src/hosts/journal/store\\.ts$" },
    },
    only("wire", [], "The types of wire values are leaves, without zod."),
    only(
      "checks",
      ["^src/wire/", "^src/machine/config\\.ts$"],
      "Checks are generated from the schemas, and load none of them: a host that checks bundles no zod.",
    ),
    only(
      "schemas",
      ["^src/wire/", "^src/checks/"],
      "Schemas are leaves: the wire, and nothing of what is done with it. Their index has the checks, too.",
    ),
    {
      name: "only-validation-knows-the-machine",
      severity: "error",
      comment: "The one meeting point: checks/validation.ts implements the type `Validation` of machine/config.ts, for a `TurnConfig`.",
      from: { path: "^src/checks/", pathNot: "^src/checks/(validation|config-mistakes)\\.ts$" },
      to: { path: "^src/machine/" },
    },
    typesOnly(
      "validation-takes-only-types",
      "^src/checks/(validation|config-mistakes)\\.ts$",
      "^src/machine/",
      "The checks can be used without the machine.",
    ),
    typesOnly(
      "hosts-take-only-types-of-schemas",
      "^src/(hosts|testing)/|^src/[^/]+\\.ts$",
      "^src/schemas/",
      "Checks are plain code in src/checks: who runs turns loads no schema. The schemas are for their own subpath, the command line and scripts.",
    ),
    {
      name: "shared-files-are-leaves",
      severity: "error",
      comment: "What everything may import must import nothing of ours.",
      from: { path: SHARED },
      to: { path: "^src/", pathNot: SHARED },
    },
    {
      name: "nothing-imports-the-command-line",
      severity: "error",
      comment: "The command line is a program for Node; a library that imports it does not run elsewhere.",
      from: { pathNot: "^src/cli/" },
      to: { path: "^src/cli/" },
    },
    {
      name: "only-the-command-line-imports-what-needs-node",
      severity: "error",
      comment: "Hosts run everywhere; what of them needs Node has a subpath of its own.",
      from: { pathNot: "^src/(cli|hosts/node)/" },
      to: { path: "^src/hosts/node/" },
    },
    {
      name: "nothing-imports-the-test-helpers",
      severity: "error",
      comment: "They need fast-check, which users do not have.",
      from: { pathNot: "^src/testing/" },
      to: { path: "^src/testing/" },
    },
    {
      name: "layers-do-not-import-the-front-door",
      severity: "error",
      comment: "src/index.ts gathers the layers; one that imports it would import all of them.",
      from: { path: "^src/[^/]+/", pathNot: "^src/(cli|testing)/" },
      to: { path: "^src/index\\.ts$" },
    },
    {
      name: "no-node",
      severity: "error",
      comment: "Only the command line and src/hosts/node may import Node's modules.",
      from: { path: "^src/", pathNot: "^src/(cli|hosts/node)/" },
      to: { dependencyTypes: ["core"] },
    },
    packageOnlyIn("immer", "^src/machine/apply-actions\\.ts$", "One place makes a next turn."),
    packageOnlyIn(
      "@noble/hashes",
      "^src/drivers/approval/digests\\.ts$",
      "A digest of a call needs a synchronous SHA-256; only who asks for approvals pays for it.",
    ),
    packageOnlyIn("eventsource-parser", "^src/hosts/models/sse\\.ts$", "Model clients read their streams in one way."),
    packageOnlyIn("zod", "^src/(schemas/|hosts/(tools|mcp)/|cli/)", "zod stays at the edge; users bring it along for the schemas of their tools."),
    packageOnlyIn("@opentelemetry/api", "^src/hosts/opentelemetry/", "An optional peer dependency of turn-machine/hosts/opentelemetry alone."),
    packageOnlyIn(
      "@restatedev/restate-sdk",
      "^src/hosts/restate/(thread-)?index\\.ts$",
      "An optional peer dependency of turn-machine/hosts/restate alone.",
    ),
    packageOnlyIn(
      "@modelcontextprotocol/client",
      "^src/cli/mcp/(client-package|servers|stdio-transport)\\.ts$",
      "An optional peer dependency of the command line alone: turn-machine/hosts/mcp knows clients by their shape.",
    ),
    packageOnlyIn("preact", "^src/viewer/page/", "It is bundled into the viewer's page, and no package that users install needs it."),
    packageOnlyIn("fast-check", "^src/testing/", "An optional peer dependency of turn-machine/testing alone."),
    {
      name: "no-other-package",
      severity: "error",
      comment:
        "The dependencies are immer, eventsource-parser, @noble/hashes and zod, and preact in the viewer's page; a host adapter that needs more gets a rule of its own here.",
      from: { path: "^src/" },
      to: {
        dependencyTypes: ["npm", "npm-dev", "npm-peer", "npm-optional", "npm-no-pkg", "npm-unknown", "unknown", "undetermined"],
        pathNot:
          "^node_modules/(immer|eventsource-parser|@noble/hashes|zod|fast-check|@opentelemetry/api|@restatedev/restate-sdk|@modelcontextprotocol/client|preact)/",
      },
    },
    {
      name: "no-unresolvable",
      severity: "error",
      comment: "An import that leads nowhere.",
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: "no-cycle-at-run-time",
      severity: "error",
      comment: "What a module sees of another then depends on who was loaded first.",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "no-cycle",
      severity: "error",
      comment: "Files that import one another, even only types, can only be read together.",
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: "specify",
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["types", "import", "default"], mainFields: ["module", "main"] },
  },
}
