// Runs every check of the Node clients against a gateway, and prints what came of each as one JSON list.
// Environment: BASE_URL and API_KEY of the gateway, PROVIDER_URL of the test's provider (see tests/support/provider_server.py).
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const { BASE_URL: baseURL, API_KEY: apiKey, PROVIDER_URL: providerURL } = process.env;
const ANNA = "Anna Schmidt (anna.schmidt@example.com) asks for her invoice.";
const HELLO = [{ role: "user", content: "Hello there" }];
const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const weather = tool({
  description: "The weather somewhere.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => ({ sky: "clear", city }),
});

const openai = new OpenAI({ baseURL, apiKey });
const sdk = createOpenAI({ baseURL, apiKey });
const compatible = createOpenAICompatible({ name: "llmguard", baseURL, apiKey, supportsStructuredOutputs: true });

/** Say how the provider answers the next requests, one word list each. */
async function queue(...answers) {
  const url = new URL("/_script", providerURL);
  await fetch(url, { method: "POST", body: JSON.stringify({ queue: answers }) });
}

const json = (value) => "text=" + encodeURIComponent(JSON.stringify(value)).replaceAll("+", "%2B");

async function collect(stream) {
  let text = "";
  for await (const piece of stream) text += piece;
  return text;
}

const checks = [];
const check = (client, feature, run) => checks.push({ client, feature, run });

check("openai", "chat", async () => {
  const { data, response } = await openai.chat.completions.create({ model: "chat", messages: [{ role: "user", content: ANNA }] }).withResponse();
  assert.equal(data.choices[0].message.content, ANNA);
  assert.equal(response.headers.get("x-llmguard-preset"), "chat@1");
});
check("openai", "chat, streamed", async () => {
  const stream = await openai.chat.completions.create({ model: "by-char", messages: [{ role: "user", content: ANNA }], stream: true, stream_options: { include_usage: true } });
  let text = "", usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, ANNA);
  assert.ok(usage.total_tokens > 0);
});
check("openai", "tools, streamed", async () => {
  const tools = [{ type: "function", function: { name: "get_weather", parameters: CITY } }];
  const runner = openai.chat.completions.stream({ model: "tools", messages: [{ role: "user", content: ANNA }], tools });
  const message = await runner.finalMessage();
  assert.equal(JSON.parse(message.tool_calls[0].function.arguments).city, ANNA);
});
check("openai", "structured output", async () => {
  await queue(json({ city: "Bremen" }));
  const response_format = { type: "json_schema", json_schema: { name: "city", strict: true, schema: CITY } };
  const answer = await openai.chat.completions.parse({ model: "agent", messages: HELLO, response_format });
  assert.equal(answer.choices[0].message.parsed.city, "Bremen");
});
check("openai", "responses", async () => {
  const answer = await openai.responses.create({ model: "chat", input: ANNA });
  assert.equal(answer.output_text, ANNA);
});
check("openai", "responses, streamed", async () => {
  const runner = openai.responses.stream({ model: "by-char", input: ANNA });
  let text = "";
  runner.on("response.output_text.delta", (event) => (text += event.delta));
  const answer = await runner.finalResponse();
  assert.equal(text, ANNA);
  assert.equal(answer.output_text, ANNA);
});
check("openai", "embeddings", async () => {
  const answer = await openai.embeddings.create({ model: "vectors", input: ["Hello", "there"] });
  assert.equal(answer.data.length, 2);
  assert.equal(typeof answer.data[0].embedding[0], "number");
});
check("openai", "models", async () => {
  const ids = [];
  for await (const model of openai.models.list()) ids.push(model.id);
  assert.ok(ids.includes("chat"));
  assert.equal((await openai.models.retrieve("chat@1")).id, "chat@1");
});
check("openai", "errors", async () => {
  const wrong = openai.chat.completions.create({ model: "gpt-4o", messages: HELLO });
  await assert.rejects(wrong, (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found" && error.message.includes("chat") && Boolean(error.error.hint));
  const stranger = new OpenAI({ baseURL, apiKey: "sk-lg_wrong" });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});
check("openai", "error in a stream", async () => {
  await queue("sse_error");
  const stream = await openai.chat.completions.create({ model: "chat", messages: HELLO, stream: true });
  await assert.rejects(async () => { for await (const _ of stream); }, (error) => error instanceof OpenAI.APIError);
});

for (const [client, model, vectors] of [
  ["@ai-sdk/openai", (name) => sdk(name), sdk.embedding("vectors")],
  ["@ai-sdk/openai", (name) => sdk.chat(name), null],
  ["@ai-sdk/openai-compatible", (name) => compatible(name), compatible.embeddingModel("vectors")],
]) {
  const kind = vectors ? "" : ", .chat()";
  check(client, "generateText" + kind, async () => {
    const { text, usage } = await generateText({ model: model("chat"), prompt: ANNA });
    assert.equal(text, ANNA);
    assert.ok(usage.totalTokens > 0);
  });
  check(client, "streamText" + kind, async () => {
    const { textStream } = streamText({ model: model("by-char"), prompt: ANNA });
    assert.equal(await collect(textStream), ANNA);
  });
  check(client, "tools in a loop" + kind, async () => {
    await queue("tools", "text=Sunny");
    const { text, steps } = await generateText({ model: model("agent"), prompt: ANNA, tools: { weather }, stopWhen: stepCountIs(3) });
    assert.equal(text, "Sunny");
    assert.equal(steps[0].toolResults[0].output.city, ANNA);
  });
  check(client, "tools, streamed" + kind, async () => {
    await queue("tools+chars=3", "text=Sunny");
    const { textStream } = streamText({ model: model("agent"), prompt: ANNA, tools: { weather }, stopWhen: stepCountIs(3) });
    assert.equal(await collect(textStream), "Sunny");
  });
  check(client, "structured output" + kind, async () => {
    await queue(json({ city: "Bremen" }));
    const output = Output.object({ schema: z.object({ city: z.string() }) });
    const answer = await generateText({ model: model("agent"), prompt: ANNA, output });
    assert.deepEqual(answer.output, { city: "Bremen" });
  });
  check(client, "errors" + kind, async () => {
    const wrong = generateText({ model: model("gpt-4o"), prompt: "Hello", maxRetries: 2 });
    await assert.rejects(wrong, (error) => error.statusCode === 404 && error.message.includes("gpt-4o"));
  });
  check(client, "a preset with no parameters" + kind, async () => {
    assert.ok((await generateText({ model: model("echo"), prompt: "Hello there" })).text.includes("Hello there"));
  });
  if (vectors) {
    check(client, "embedMany", async () => {
      const { embeddings } = await embedMany({ model: vectors, values: ["Hello", "there"] });
      assert.equal(embeddings.length, 2);
    });
  }
}
check("@ai-sdk/openai", "a conversation goes on, with store: false", async () => {
  const options = { model: sdk("chat"), providerOptions: { openai: { store: false } } };
  const first = await generateText({ ...options, prompt: "Hello there" });
  const messages = [...HELLO, ...first.response.messages, { role: "user", content: "And again" }];
  assert.equal((await generateText({ ...options, messages })).text, "And again");
});
check("@ai-sdk/openai", "a conversation goes on by ids: refused, saying store: false", async () => {
  const first = await generateText({ model: sdk("chat"), prompt: "Hello there" });
  const messages = [...HELLO, ...first.response.messages, { role: "user", content: "And again" }];
  await assert.rejects(generateText({ model: sdk("chat"), messages }), (error) => JSON.parse(error.responseBody).error.hint.includes("store: false"));
});

const results = [];
for (const { client, feature, run } of checks) {
  try {
    await run();
    results.push({ client, feature, error: null });
  } catch (error) {
    results.push({ client, feature, error: String(error?.stack ?? error).slice(0, 2000) + " " + String(error?.responseBody ?? "") });
  }
}
process.stdout.write(JSON.stringify(results));
