// The entry module of a web worker: answers each message with a message.
import { call } from "./program.js"

addEventListener("message", async ({ data }) => postMessage(await call(data)))
