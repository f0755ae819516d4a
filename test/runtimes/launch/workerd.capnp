# The compatibility date is before the one from which nodejs_compat is on by default (2026-08-04), so the program has no Node APIs.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(
    name = "main",
    worker = (
      modules = [
        (name = "workerd.mjs", esModule = embed "workerd.mjs"),
        (name = "program.js", esModule = embed "program.js"),
      ],
      compatibilityDate = "2026-04-01",
    ),
  )],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
