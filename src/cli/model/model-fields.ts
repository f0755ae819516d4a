import * as z from "zod"
import { PROVIDER_NAMES } from "./providers.ts"

/** The stored settings of a model. They name the variable of an API key, never the key. */
export const modelFields = {
  model: z.string(),
  /** Absent: it is the embedded model. */
  baseUrl: z.string().exactOptional(),
  /** What the endpoint speaks. Absent: Chat Completions. */
  provider: z.enum(PROVIDER_NAMES).exactOptional(),
  apiKeyEnv: z.string().exactOptional(),
}
