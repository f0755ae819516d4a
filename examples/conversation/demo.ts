/** `npm start`: two servers, one after the other, and two clients. They share nothing but the files in `data/`. */
import { rmSync } from "node:fs"
import { start } from "./processes.ts"

const THREAD = "trip"
const URL = `http://127.0.0.1:${process.env["PORT"] ?? "4114"}`
const CLIENT = ["client.ts", URL, THREAD, "data/client.json"]

rmSync("data", { recursive: true, force: true })

title("A server and a client start. You say hello, and the answer is streamed.")
const print = (text: string) => void process.stdout.write(text)
let server = start(["server.ts"], { onPrint: print })
await server.prints("listens")
let client = start(CLIENT, { onPrint: print })
await post({ text: "Hello!", key: "k1" })
await client.prints("turn trip.1 ended")

title('You ask for a plan. While the tool runs, you add inputs: for "now", for the end of the turn, and for a turn of its own; one you take back.')
await post({ text: "Plan a day in Lisbon.", key: "k2" })
await client.prints("tool look_up starts")
await post({ text: "We are three.", when: "now", key: "k3" })
await post({ text: "One of us is vegetarian.", when: "turn_end", key: "k4" })
await post({ text: "Write a packing list.", when: "next_turn", key: "k5" })
const { inputId } = await post({ text: "Book a hotel.", when: "next_turn", key: "k6" })
await call("DELETE", `/inputs/${inputId}`)

title("While the model answers, you redirect the turn. What it said so far stays, and the same turn continues with your input.")
await client.prints("client:   A day in Lisbon: first the ")
await post({ text: "No, plan a day in Porto.", redirect: true, key: "k7" })

title("While the second plan is looked up, the server and the client are killed with SIGKILL.")
await client.prints("[calls look_up]\nclient: tool look_up starts")
await Promise.all([server.kill(), client.kill()])

title("A new server starts. It lists the threads, and resumes the one that is open. A new client continues with the cursor of the first.")
server = start(["server.ts"], { onPrint: print })
client = start(CLIENT, { onPrint: print })
await client.prints("turn trip.3 ended")

title("You send the first input of the plan again, as after a lost answer: it has the same key, so it is the same input.")
console.log("demo:  ", JSON.stringify(await post({ text: "Plan a day in Lisbon.", key: "k2" })))

title("You delete the thread.")
await call("DELETE", "")
await client.prints("the thread is closed")
await server.kill()

function title(text: string): void {
  console.log(`\n=== ${text}`)
}

async function post(input: object): Promise<{ readonly inputId: string }> {
  return (await call("POST", "/inputs", input)) as { readonly inputId: string }
}

async function call(method: string, path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${URL}/threads/${THREAD}${path}`, { method, ...(body !== undefined && { body: JSON.stringify(body) }) })
  const value: unknown = await response.json()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(value)}`)
  return value
}
