/** `npm start`: runs the three processes one after another. */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"

const STEPS = [
  ["start.ts"],
  ["list.ts"],
  // In reverse order, one denied, one edited to a smaller amount.
  ["decide.ts", "carol", "approve", "bob", "reject", "Not due yet.", "ann", "edit", "100"],
]
rmSync("data", { recursive: true, force: true })
for (const [index, step] of STEPS.entries()) {
  console.log(`\n=== Process ${index + 1}: npx tsx ${step.map((word) => (word.includes(" ") ? `"${word}"` : word)).join(" ")}`)
  const { status } = spawnSync(process.execPath, ["--import", "tsx", ...step], { stdio: "inherit", env: { ...process.env, PAYMENTS_FOLDER: "data" } })
  if (status !== 0) process.exit(status ?? 1)
}
