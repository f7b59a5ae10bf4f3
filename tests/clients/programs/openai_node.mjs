// The openai package for Node.
import OpenAI from "openai";

const { BASE_URL, API_KEY, MODEL } = process.env;
const settings = { baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 };
const client = new OpenAI(settings);
const scene = (name) => [{ role: "user", content: name }];
const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      description: "The weather in a city",
      parameters: { type: "object", properties: { city: { type: "string" } } },
    },
  },
];

const ask = (name, more = {}, by = client) =>
  by.chat.completions.create({ model: MODEL, messages: scene(name), ...more });

async function text(name, more) {
  return (await ask(name, more)).choices[0].message.content;
}

async function streamed(name) {
  let said = "";
  for await (const chunk of await ask(name, { stream: true })) {
    said += chunk.choices[0].delta.content ?? "";
  }
  return said;
}

async function streamedReasoning() {
  const said = ["", ""];
  for await (const chunk of await ask("reason", { stream: true })) {
    said[0] += chunk.choices[0].delta.reasoning_content ?? "";
    said[1] += chunk.choices[0].delta.content ?? "";
  }
  return said;
}

const usageOf = (usage) => [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];

async function streamedUsage() {
  let last;
  const options = { stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await ask("plain", options)) last = chunk;
  return usageOf(last.usage);
}

function called({ message, finish_reason: finish }) {
  const [call] = message.tool_calls;
  return [call.function.name, call.function.arguments, finish];
}

async function streamedCall() {
  const events = client.chat.completions.stream({ model: MODEL, messages: scene("tool"), tools });
  return called((await events.finalChatCompletion()).choices[0]);
}

async function error(call) {
  try {
    await call();
  } catch (refused) {
    return [refused.constructor.name, refused.status ?? null, refused.code ?? null];
  }
  return ["nothing"];
}

async function broken(name) {
  let said = "";
  try {
    for await (const chunk of await ask(name, { stream: true })) {
      said += chunk.choices[0].delta.content ?? "";
    }
  } catch (end) {
    return [said, end.constructor.name];
  }
  return [said, "as if it were whole"];
}

async function leave() {
  for await (const chunk of await ask("endless", { stream: true })) {
    if (chunk.choices[0].delta.content) break;
  }
  return "left";
}

const stranger = new OpenAI({ ...settings, apiKey: "nobody's" });
const ownHeader = new OpenAI({
  ...settings,
  apiKey: "ignored",
  defaultHeaders: { "x-api-key": API_KEY },
});
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const two = await ask("two", { n: 2 });
const thinking = (await ask("reason")).choices[0].message;

console.log(
  JSON.stringify({
    models,
    model: (await client.models.retrieve(MODEL)).id,
    whole: await text("plain"),
    streamed: await streamed("plain"),
    letters: await text("letters"),
    "letters streamed": await streamed("letters"),
    usage: usageOf((await ask("plain")).usage),
    "usage streamed": await streamedUsage(),
    two: two.choices.map((choice) => choice.message.content),
    reasoning: [thinking.reasoning_content, thinking.content],
    "reasoning streamed": await streamedReasoning(),
    "tool call": called((await ask("tool", { tools })).choices[0]),
    "tool call streamed": await streamedCall(),
    "own header": (await ask("plain", {}, ownHeader)).choices[0].message.content,
    "wrong key": await error(() => ask("plain", {}, stranger)),
    "no such model": await error(() => ask("plain", { model: "none" })),
    "bad temperature": await error(() => ask("plain", { temperature: 3 })),
    "provider busy": await error(() => ask("busy")),
    cut: await broken("cut"),
    fault: await broken("fault"),
    left: await leave(),
  }),
);
