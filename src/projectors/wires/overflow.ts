/** How providers say that a request is larger than the context window. A wording for each is in the tests. */
const WORDINGS: readonly RegExp[] = [
  // OpenAI, vLLM, DeepSeek, OpenRouter, SGLang, xAI, Mistral
  /maximum (?:context|prompt|model) length/i,
  /exceeds the context window/i,
  /context length is only \d/i,
  // Anthropic
  /prompt is too long/i,
  /exceed context limit/i,
  // Google
  /input token count[^.]{0,40}exceeds the maximum/i,
  /input token count is \d+ but (?:the )?model only supports up to/i,
  // Ollama
  /prompt too long; exceeded/i,
  // llama.cpp, LM Studio
  /exceeds the available context/i,
  /context (?:length|size|window) (?:is |was |has been )?exceeded/i,
  /greater than the context length/i,
  /context the overflows/i,
  // llama-cpp-python
  /exceed context window of/i,
  // Groq, Cerebras
  /reduce the length of the messages/i,
  // Poolside, Volcano Engine, SGLang
  /input length \(?\d+(?: tokens)?\)? exceeds the maximum/i,
  /exceed max message tokens/i,
  // TensorRT-LLM
  /should not exceed max_num_tokens/i,
  /prompt length \(\d+\) exceeds maximum (?:input|sequence) length/i,
  // Together, SGLang
  /longer than the model's context length/i,
  // Bedrock
  /input is too long for requested model/i,
  /\binput tokens exceeded\b/i,
  // Cohere
  /too many tokens: (?:size limit|total number)/i,
  // Copilot
  /prompt token count of \d+ exceeds the limit/i,
  // Moonshot, MiniMax, Z.ai, DashScope
  /exceeded model token limit/i,
  /context window exceeds limit/i,
  /prompt exceeds max length/i,
  /range of input length should be/i,
  // Hugging Face
  /`inputs` tokens \+ `max_new_tokens` must be/i,
  // Other servers
  /exceeds? the context/i,
  /exceeded max_prompt_tokens/i,
  // The limit of the answer has the same words.
  /(?<!\b(?:max_\w{0,20}tokens|maxOutputTokens|output tokens)\b[^.]{0,80})exceeds? the maximum number of tokens/i,
]

/** A single request that is larger than what is allowed in a minute: waiting does not help, a shorter request does. OpenAI, Groq. */
const TOO_LARGE_FOR_RATE = /request too large for|tokens must be reduced in order to run/i

const CODES: ReadonlySet<string> = new Set([
  "context_length_exceeded",
  "exceed_context_size_error",
  "model_max_prompt_tokens_exceeded",
  "request_too_large",
])

/** Whether an error says that the request is too large for the model. Messages about rate limits mention token limits as well. */
export function isOverflow(status: number | undefined, message: string, names: readonly (string | undefined)[]): boolean {
  if (names.some((name) => name !== undefined && CODES.has(name)) || TOO_LARGE_FOR_RATE.test(message)) return true
  if (status === 413) return true
  return status !== 429 && WORDINGS.some((wording) => wording.test(message))
}
