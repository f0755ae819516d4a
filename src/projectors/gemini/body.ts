import type { Json } from "../../json.ts"

/** The body of a `generateContent` or `streamGenerateContent` request. JSON. The model is in the URL. */
export interface GeminiBody {
  readonly contents: readonly GeminiContent[]
  readonly systemInstruction?: { readonly parts: readonly { readonly text: string }[] }
  readonly tools?: readonly GeminiTool[]
  readonly toolConfig?: GeminiToolConfig
  readonly generationConfig?: GeminiGenerationConfig
  /** Continues an answer that ended with the finish reason `CONTINUATION`. */
  readonly continuationToken?: string
  readonly [key: string]: unknown
}

/** One turn of the conversation. User and model take turns, and the user begins. */
export interface GeminiContent {
  readonly role: "user" | "model"
  readonly parts: readonly GeminiPart[]
}

/** A piece of a turn. It has exactly one of `text`, `functionCall`, `functionResponse`, `inlineData`, `fileData` and the server's own kinds. */
export interface GeminiPart {
  readonly text?: string
  /** The text is a thought. */
  readonly thought?: boolean
  /** Base64. Belongs to exactly this part. */
  readonly thoughtSignature?: string
  readonly functionCall?: GeminiFunctionCall
  readonly functionResponse?: GeminiFunctionResponse
  readonly inlineData?: GeminiBlob
  readonly fileData?: GeminiFileData
}

export interface GeminiFunctionCall {
  readonly id?: string
  readonly name: string
  readonly args: { readonly [key: string]: Json }
}

export interface GeminiFunctionResponse {
  readonly id?: string
  readonly name: string
  readonly response: { readonly output: string } | { readonly error: string }
  readonly parts?: readonly GeminiMedia[]
}

/** Bytes in base64. */
export interface GeminiBlob {
  readonly mimeType: string
  readonly data: string
}

export interface GeminiFileData {
  readonly mimeType: string
  readonly fileUri: string
}

/** An image or a file, as bytes or by its address. */
export type GeminiMedia = { readonly inlineData: GeminiBlob } | { readonly fileData: GeminiFileData }

export interface GeminiTool {
  readonly functionDeclarations?: readonly GeminiFunctionDeclaration[]
  /** Tools that run on the provider's side. */
  readonly [key: string]: unknown
}

export interface GeminiFunctionDeclaration {
  readonly name: string
  readonly description?: string
  readonly parametersJsonSchema: Json
}

export interface GeminiToolConfig {
  readonly functionCallingConfig?: { readonly mode: "ANY" | "NONE"; readonly allowedFunctionNames?: readonly string[] }
  readonly [key: string]: unknown
}

export interface GeminiGenerationConfig {
  readonly maxOutputTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly stopSequences?: readonly string[]
  readonly seed?: number
  readonly responseMimeType?: "application/json"
  readonly responseJsonSchema?: Json
  readonly thinkingConfig?: GeminiThinkingConfig
  readonly [key: string]: unknown
}

export interface GeminiThinkingConfig {
  readonly includeThoughts?: true
  /** Tokens; 0: none, -1: the model decides. Up to Gemini 2.5. */
  readonly thinkingBudget?: number
  readonly thinkingLevel?: GeminiThinkingLevel
}

export type GeminiThinkingLevel = "MINIMAL" | "LOW" | "MEDIUM" | "HIGH"
