import { expect, test } from "vitest"
import { openAiChatWire } from "../../../src/projectors/openai-chat/index.ts"
import { chatAnswer } from "../../support/openai-chat.ts"
import { failure } from "./support.ts"

/** Provider, status, error, and where the wording was reported or documented (2026-11). */
const OVERFLOWS: readonly (readonly [string, number, unknown, string])[] = [
  [
    "OpenAI",
    400,
    {
      message:
        "This model's maximum context length is 16385 tokens. However, your messages resulted in 16468 tokens. Please reduce the length of the messages.",
      type: "invalid_request_error",
      param: "messages",
      code: "context_length_exceeded",
    },
    "https://github.com/ChatGPTNextWeb/NextChat/issues/2358",
  ],
  [
    "OpenAI, newer",
    400,
    { message: "Your input exceeds the context window of this model. Please adjust your input and try again." },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  [
    "OpenAI, larger than a minute's limit",
    429,
    {
      message:
        "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 61337. The input or output tokens must be reduced in order to run successfully.",
      type: "tokens",
      code: "rate_limit_exceeded",
    },
    "https://github.com/continuedev/continue/issues/10602",
  ],
  [
    "DeepSeek",
    400,
    {
      message:
        "This model's maximum context length is 131072 tokens. However, you requested 141403 tokens (133211 in the messages, 8192 in the completion). Please reduce the length of the messages or completion.",
      type: "invalid_request_error",
      code: "invalid_request_error",
    },
    "https://github.com/netease-youdao/LobsterAI/issues/60",
  ],
  [
    "Anthropic",
    400,
    { message: "prompt is too long: 227255 tokens > 200000 maximum", type: "invalid_request_error" },
    "https://github.com/aaif-goose/goose/pull/7504",
  ],
  [
    "Anthropic, with the answer's share",
    400,
    { message: "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again" },
    "https://docs.claude.com/en/docs/build-with-claude/context-windows",
  ],
  ["Anthropic, in bytes", 413, { message: "Request exceeds the maximum size", type: "request_too_large" }, "https://docs.claude.com/en/api/errors"],
  [
    "Google",
    400,
    { code: 400, message: "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).", status: "INVALID_ARGUMENT" },
    "https://github.com/google-gemini/gemini-cli/issues/6678",
  ],
  [
    "Ollama",
    400,
    { message: "prompt too long; exceeded max context length by 918 tokens", type: "invalid_request_error" },
    "https://github.com/earendil-works/pi/issues/2626",
  ],
  [
    "llama.cpp",
    400,
    { code: 400, message: "the request exceeds the available context size, try increasing it", type: "exceed_context_size_error" },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  [
    "llama.cpp, without a type",
    500,
    { message: "Context size has been exceeded." },
    "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/2339",
  ],
  [
    "vLLM",
    400,
    {
      message:
        "You passed 32769 input tokens and requested 0 output tokens. However, the model's context length is only 32768 tokens, resulting in a maximum input length of 32768 tokens.",
      type: "BadRequestError",
      code: 400,
    },
    "https://github.com/vllm-project/vllm",
  ],
  [
    "vLLM, at the engine",
    400,
    { message: "The decoder prompt (length 45000) is longer than the maximum model length of 32768.", type: "BadRequestError" },
    "https://github.com/vllm-project/vllm/pull/12600",
  ],
  [
    "LM Studio",
    400,
    "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context length of only 32768 tokens, which is not enough. Try to load the model with a larger context length, or provide a shorter input",
    "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/546",
  ],
  [
    "LM Studio, newer",
    400,
    "The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger context length, or provide a shorter input.",
    "https://github.com/Gitlawb/openclaude/issues/353",
  ],
  [
    "Groq",
    400,
    {
      message: "Please reduce the length of the messages or completion.",
      type: "invalid_request_error",
      param: "messages",
      code: "context_length_exceeded",
    },
    "https://github.com/OpenHands/OpenHands/issues/1902",
  ],
  [
    "Groq, larger than a minute's limit",
    413,
    {
      message:
        "Request too large for model `llama-3.3-70b-versatile` in organization `org_x` service tier `on_demand` on tokens per minute (TPM): Limit 12000, Requested 14137, please reduce your message size and try again.",
      type: "tokens",
      code: "rate_limit_exceeded",
    },
    "https://github.com/continuedev/continue/issues/10218",
  ],
  [
    "Cerebras",
    400,
    { message: "Please reduce the length of the messages or completion. Current length is 42328 while limit is 40000" },
    "https://github.com/cline/cline/issues/5140",
  ],
  [
    "Mistral",
    400,
    {
      message: "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
      type: "invalid_request_error",
    },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  [
    "Bedrock",
    400,
    { message: "The model returned the following errors: Input is too long for requested model." },
    "https://github.com/continuedev/continue/issues/6005",
  ],
  [
    "Copilot",
    400,
    { message: "prompt token count of 1236658 exceeds the limit of 128000", code: "model_max_prompt_tokens_exceeded" },
    "https://github.com/microsoft/vscode/issues/289219",
  ],
  [
    "Copilot, without a code",
    400,
    { message: "prompt token count of 93854 exceeds the limit of 90000", param: "", code: "", type: "" },
    "https://github.com/jjleng/copilot-more/issues/35",
  ],
  [
    "xAI",
    400,
    { message: "This model's maximum prompt length is 131072 but the request contains 537812 tokens." },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  [
    "OpenRouter",
    400,
    { message: "This endpoint's maximum context length is 200000 tokens. However, you requested about 240000 tokens.", code: 400 },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  [
    "Together",
    400,
    { message: "The input (516368 tokens) is longer than the model's context length (262144 tokens)." },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  [
    "Moonshot",
    400,
    { message: "Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)" },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  ["MiniMax", 400, { message: "invalid params, context window exceeds limit (2013)" }, "https://github.com/MiniMax-AI/MiniMax-M2/issues/119"],
  [
    "DashScope",
    400,
    { message: "Range of input length should be [1, 129024]", code: "invalid_parameter_error" },
    "https://github.com/QwenLM/Qwen-Agent/issues/615",
  ],
  ["Z.ai", 400, { message: "Prompt exceeds max length", code: "1261" }, "https://docs.z.ai/api-reference/api-code"],
  [
    "Hugging Face",
    422,
    {
      message: "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 65537. Given: 79993 `inputs` tokens and 1024 `max_new_tokens`",
    },
    "https://github.com/bytedance/UI-TARS-desktop/issues/626",
  ],
  [
    "SGLang",
    400,
    { message: "Input length (265330) exceeds model's maximum context length (262144)." },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  [
    "Poolside",
    400,
    { message: "Input length 131393 exceeds the maximum allowed input length of 131040 tokens." },
    "https://github.com/earendil-works/pi/blob/main/packages/ai/src/utils/overflow.ts",
  ],
  [
    "Vertex AI",
    400,
    {
      code: 400,
      message: "Unable to submit request because the input token count is 1300007 but model only supports up to 1048576. Reduce it.",
      status: "INVALID_ARGUMENT",
    },
    "https://github.com/google-gemini/gemini-cli/issues/19727",
  ],
  [
    "llama-cpp-python",
    500,
    { message: "Requested tokens (9123) exceed context window of 8192", type: "internal_server_error" },
    "https://github.com/nextcloud/context_chat_backend/issues/27",
  ],
  [
    "SGLang, with a unit",
    400,
    { message: "Input length (70001 tokens) exceeds the maximum allowed length (65536 tokens). Use a shorter input.", code: 400 },
    "https://github.com/sgl-project/sglang",
  ],
  [
    "TensorRT-LLM",
    400,
    { message: "The sum of prompt length (9351.0), query length (0) should not exceed max_num_tokens (8192)", type: "BadRequestError" },
    "https://github.com/NVIDIA/TensorRT-LLM/issues/9277",
  ],
  [
    "Triton",
    400,
    { message: "Cannot process new request: Prompt length (5056) exceeds maximum sequence length (2048)" },
    "https://github.com/triton-inference-server/tensorrtllm_backend/issues/141",
  ],
  [
    "Bedrock, Nova",
    400,
    { message: "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again." },
    "https://docs.aws.amazon.com/nova/latest/userguide",
  ],
  ["Cohere", 400, { message: "too many tokens: size limit exceeded by 311 tokens." }, "https://github.com/Quansight/ragna/pull/351"],
  [
    "Volcano Engine, with images",
    400,
    { message: "Total tokens of image and text exceed max message tokens." },
    "https://www.volcengine.com/docs/82379/1299023",
  ],
  [
    "a gateway",
    400,
    { message: "number of input tokens (167594) has exceeded max_prompt_tokens (163840) limit." },
    "https://github.com/RhythmicWave/NovelForge/issues/136",
  ],
  [
    "Volcano Engine",
    400,
    { code: "InvalidParameter", message: "Input length 203743 exceeds the maximum length 202752" },
    "https://github.com/langgenius/dify/issues/32221",
  ],
]

test.each(OVERFLOWS)("%s says that the context is full", (_provider, status, error) => {
  const expected = { kind: "context_overflow", terminalReason: "context_overflow", retryable: false }
  expect(openAiChatWire().failure(status, JSON.stringify({ error }))).toMatchObject(expected)
  // The same in a body or a chunk with status 200, in which no status says more.
  expect(failure(chatAnswer({ error }))).toMatchObject(status === 413 ? {} : expected)
})

test("413 without a body means that the request is too large", () => {
  expect(openAiChatWire().failure(413, "")).toMatchObject({ kind: "context_overflow", terminalReason: "context_overflow" })
})

test.each([
  ["a limit per minute", 429, "Too many tokens, please wait before trying again."],
  ["a limit per minute that names its tokens", 429, "Rate limit reached on tokens per minute (TPM): Limit 6000, Used 5034, Requested 1443."],
  ["a limit whose wording is that of an overflow", 429, "Your request exceeded model token limit"],
  ["a limit of the answer", 400, "max_tokens must be at least 1, got -186."],
  ["an answer's limit in words of an overflow", 400, "max_completion_tokens: 90000 exceeds the maximum number of tokens for output 8192"],
  ["an answer's limit in other words", 400, "The value of max_tokens (64000) exceeds the maximum number of tokens that can be generated (8192)"],
  ["Google's limit of the answer", 400, "maxOutputTokens 99999 exceeds the maximum number of tokens allowed (65536)"],
  ["a long name", 400, "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64."],
  ["too many tools", 400, "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 130 instead."],
])("%s is not an overflow", (_what, status, message) => {
  expect(openAiChatWire().failure(status, JSON.stringify({ error: { message } })).terminalReason).toBe("provider_error")
})
