// Vercel's AI SDK with its provider for whatever speaks OpenAI's protocol.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const { BASE_URL, API_KEY, MODEL } = process.env;
const settings = { name: "site", baseURL: BASE_URL, apiKey: API_KEY, includeUsage: true };
const site = createOpenAICompatible(settings);
const quiet = { maxRetries: 0, onError: () => {} };
const ask = (prompt, more = {}) => ({ model: site(MODEL), prompt, ...quiet, ...more });

const weather = tool({
  description: "The weather in a city",
  inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } } }),
  execute: async ({ city }) => `sunny in ${city}`,
});

const usageOf = (usage) => [usage.inputTokens, usage.outputTokens, usage.totalTokens];

async function streamed(prompt, more) {
  const result = streamText(ask(prompt, more));
  let text = "";
  for await (const piece of result.textStream) text += piece;
  return { text, result };
}

async function broken(prompt) {
  let error = null;
  const { text } = await streamed(prompt, { onError: (event) => (error = event.error) });
  return [text, error ? "an error" : "as if it were whole"];
}

async function error(prompt, model) {
  try {
    await generateText(ask(prompt, { model }));
  } catch (refused) {
    return [APICallError.isInstance(refused), refused.statusCode ?? null];
  }
  return ["nothing"];
}

async function calls(result) {
  const steps = await result.steps;
  const [call] = steps[0].toolCalls;
  return [call.toolName, call.input, await result.text];
}

const thinking = await generateText(ask("reason"));
const { result: thought } = await streamed("reason");
const { result: plain } = await streamed("plain");
const agent = { tools: { weather }, stopWhen: stepCountIs(3) };

console.log(
  JSON.stringify({
    whole: (await generateText(ask("plain"))).text,
    streamed: await plain.text,
    finish: await plain.finishReason,
    "letters streamed": (await streamed("letters")).text,
    usage: usageOf((await generateText(ask("plain"))).usage),
    "usage streamed": usageOf(await plain.usage),
    reasoning: [thinking.reasoningText, thinking.text],
    "reasoning streamed": [await thought.reasoningText, await thought.text],
    "tool call": await calls(await generateText(ask("tool", agent))),
    "tool call streamed": await calls((await streamed("tool", agent)).result),
    "wrong key": await error(
      "plain",
      createOpenAICompatible({ ...settings, apiKey: "nobody's" })(MODEL),
    ),
    "no such model": await error("plain", site("none")),
    cut: await broken("cut"),
    fault: await broken("fault"),
  }),
);
