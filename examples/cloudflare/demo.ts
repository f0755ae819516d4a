/** `npm start`: a Worker with a Durable Object for each thread, killed between effects, and a client that streams. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ThreadEvent } from "turn-machine/hosts/thread"
import { Client } from "./local/client.ts"
import { openShop } from "./local/shop.ts"
import { bundleWorker, startWorker } from "./local/workerd.ts"

const folder = mkdtempSync(join(tmpdir(), "turn-machine-cloudflare-"))
const shop = await openShop()
const size = await bundleWorker({ folder, vars: { SHOP_URL: shop.url, API_TOKEN: "demo", WORD_MS: "60", RECOVER_AFTER_MS: "2000" } })
let worker = await startWorker(folder, (text) => process.stdout.write(text))
const client = new Client(() => worker.url, "ada", "demo")

try {
  title(`workerd runs the Worker (${Math.round(size / 1000)} kB). You ask for a refund, over a route of the object. A WebSocket shows what happens.`)
  const following = client.follow("WebSocket", print)
  shop.onRequest = async (_method, path) => {
    if (path !== "/orders/3") return
    shop.onRequest = () => {}
    title("While the third order is looked up, workerd is killed with SIGKILL, and started again. Nothing is sent to the object: its alarm wakes it.")
    await worker.kill()
    worker = await startWorker(folder, (text) => process.stdout.write(text))
  }
  await client.call("say", { input: "Please check orders 1 to 4, and refund the last one.", key: "k1" })

  const { requestId, digest } = await until(heldCall)
  title("The refund waits for a decision. The object has no alarm now, and may be hibernated. workerd is killed again, and you approve the refund.")
  await worker.kill()
  worker = await startWorker(folder, (text) => process.stdout.write(text))
  await client.call("decide", { decisions: [{ requestId, digest, decision: "approve", by: "ada" }] })
  await following

  title("The input is sent again, as after a lost answer: it has the same key, so it is the same input.")
  console.log(await client.call("say", { input: "Please check orders 1 to 4, and refund the last one.", key: "k1" }))
  console.log("shop: refunds that were asked for:", [...shop.refunds.values()])
} finally {
  await worker.kill()
  await shop.close()
  rmSync(folder, { recursive: true, force: true })
}

function title(text: string): void {
  console.log(`\n=== ${text}`)
}

interface Held {
  readonly requestId: string
  readonly digest: string
}

async function heldCall(): Promise<Held | undefined> {
  const { approvals } = (await client.callUntilAnswered("status")) as { readonly approvals?: { readonly held: readonly Held[] } }
  return approvals?.held[0]
}

async function until<Value>(look: () => Promise<Value | undefined>): Promise<Value> {
  for (;;) {
    const value = await look()
    if (value !== undefined) return value
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** Prints an event, and returns whether the turn has ended. */
function print(event: ThreadEvent): boolean {
  switch (event.type) {
    case "text_delta":
      process.stdout.write(event.delta)
      return false
    case "model_call_ended":
      console.log()
      return false
    case "turn_started":
    case "turn_ended":
      console.log(`client: ${event.type} ${event.turnId}`)
      return event.type === "turn_ended"
    case "tool_call_started":
    case "tool_call_ended":
      console.log(`client: ${event.type} ${event.toolName}`)
      return false
    case "approval_requested":
    case "approval_decided":
      console.log(`client: ${event.type}`)
      return false
    default:
      return false
  }
}
