using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .main), (name = "storage", disk = (path = "storage", writable = true))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  # Before 2026-08-04, nodejs_compat is not on by default.
  compatibilityDate = "2026-04-01",
  durableObjectNamespaces = [
    (className = "Rules", uniqueKey = "rules", enableSql = true),
    (className = "Called", uniqueKey = "called", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [(name = "RULES", durableObjectNamespace = "Rules"), (name = "CALLED", durableObjectNamespace = "Called")],
);
