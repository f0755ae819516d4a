import { readFileSync } from "node:fs"
import { ROOT } from "./built.ts"
import { errorNames } from "./docs/error-codes.ts"
const { codes, kinds } = errorNames(`${ROOT}/src`)
const text = readFileSync(`${ROOT}/docs/errors.md`, "utf8")
console.log([...codes].filter((code) => !new RegExp(`^\\| \`${code}\``, "m").test(text)), ["invalid_key","invalid_input","invalid_request","invalid_command","invalid_event","invalid_answer","not_verified","turn_not_begun","turn_finished","internal_error","key_reused"].map((c) => [c, codes.has(c)]))
