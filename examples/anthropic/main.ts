import { advise, claude, MODEL } from "./advisor.ts"
import { startMock } from "./mock.ts"

const mock = process.argv.includes("--mock") ? await startMock() : undefined
const apiKey = mock === undefined ? (process.env["ANTHROPIC_API_KEY"] ?? "") : "none"
if (apiKey === "") {
  console.error("Set ANTHROPIC_API_KEY to your key, or run: npm run start:mock")
  process.exit(1)
}

const questions = ["What do the wine and the bread cost?", "And both together?"]
const advice = await advise(claude(apiKey, mock?.url), questions, (event) => {
  if (event.type === "tool_call") console.log(`  ${event.name} ${JSON.stringify(event.args)}`)
  if (event.type === "retry_status") console.log(`  ${event.reason} Attempt ${event.attempt + 1} in ${event.waitSeconds} s.`)
})
for (const { dollars, text } of advice) console.log(text, dollars === undefined ? "" : `($${dollars.toFixed(4)}, ${MODEL})`)
await mock?.stop()
