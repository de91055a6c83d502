"""Every provider that LiteLLM translates: Anthropic, Gemini, Bedrock, Azure and others, as OpenAI's wire format.

LiteLLM is imported when the first such provider is used, off the event loop (4 s), told to phone nobody, and kept
quiet: its log lines and its exceptions carry bodies, keys and addresses, so neither leaves this file.
"""

import asyncio
import contextlib
import importlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final

from llmguard.domain.catalog import Model
from llmguard.domain.chat import JsonObject
from llmguard.domain.clock import Clock
from llmguard.providers import failures
from llmguard.providers.adapter import AttemptFailed, asks_embeddings
from llmguard.providers.embeddings import plain_embeddings
from llmguard.providers.keys import read_key
from llmguard.providers.litellm_shapes import plain_chunk, plain_completion
from llmguard.providers.retry_after import read_retry_after
from llmguard.providers.tokens import TokenCounter

_NOT_FOUND: Final = 404
_LOWEST_ERROR: Final = 400
_LOGGERS: Final = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "openai")

# Read while LiteLLM is imported and used. Without them it fetches prices, headers and posts from GitHub at start.
_OFFLINE: Final = (
    "LITELLM_LOCAL_MODEL_COST_MAP",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS",
    "LITELLM_LOCAL_BLOG_POSTS",
    "LITELLM_LOCAL_POLICY_TEMPLATES",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS",
)

# OpenAI's parameters, and nothing else: `acompletion` takes its own switches (api_base, mock_response, fallbacks,
# extra_headers, prices ...) by the same keywords, and an app must never reach those.
_PASSED_ON: Final = frozenset(
    {
        "messages", "stream", "stream_options", "temperature", "top_p", "n", "stop", "max_tokens",
        "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
        "seed", "user", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
        "verbosity", "modalities", "audio", "prediction", "service_tier", "safety_identifier", "web_search_options",
    }
)  # fmt: skip
_PASSED_ON_FOR_EMBEDDINGS: Final = frozenset({"input", "dimensions", "user"})


class LitellmAdapter:
    """Calls `litellm.acompletion` and `litellm.aembedding`."""

    def __init__(self, environ: Mapping[str, str], clock: Clock, tokens: TokenCounter) -> None:
        self._environ = environ
        self._clock = clock
        self._tokens = tokens
        self._litellm: Any = None  # Any: LiteLLM's module; its types say little
        self._importing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Import LiteLLM in a thread."""
        async with self._importing:
            if self._litellm is None:
                self._litellm = await asyncio.to_thread(_import_quietly)

    async def close(self) -> None:
        """Wait until every upstream connection that was hung up is closed."""
        await asyncio.gather(*self._closing)
        if self._litellm is not None:
            await self._litellm.close_litellm_async_clients()

    async def attempt(self, model: Model, body: JsonObject, *, trace_id: str) -> AsyncGenerator[list[JsonObject], None]:
        """Yield one chat.completion, the chunks of a stream, or one list of embeddings.

        Raises:
            AttemptFailed: before or between chunks.
        """
        embeds = asks_embeddings(body)
        unknown = sorted(body.keys() - (_PASSED_ON_FOR_EMBEDDINGS if embeds else _PASSED_ON) - {"model"})
        if unknown:
            raise failures.invalid_request(model, "unsupported_parameter", failures.token(unknown[0]), reached=False)
        arguments = {
            **body,
            "api_key": read_key(model, self._environ),
            "base_url": model.provider.base_url,
            "timeout": model.provider.total_timeout_seconds,
            "num_retries": 0,
            "max_retries": 0,
            "extra_headers": {"x-request-id": trace_id},
        }
        await self.start()
        self._check_vendor(model)
        if embeds:
            arguments["api_base"] = arguments.pop("base_url")
            listed = await self._ask(model, lambda: self._litellm.aembedding(**arguments))
            yield [await asyncio.to_thread(plain_embeddings, model, body, listed.model_dump(), self._tokens)]
            return
        arguments["_skip_mcp_handler"] = True  # LiteLLM 1.106.2 imports `mcp` for calls with tools; we do not ship it
        answer = await self._ask(model, lambda: self._litellm.acompletion(**arguments))
        if not body.get("stream"):
            yield [plain_completion(answer.model_dump(mode="json"))]
            return
        stream = aiter(answer)
        try:
            while (chunk := await self._ask(model, lambda: anext(stream, None))) is not None:
                plain = plain_chunk(chunk.model_dump(mode="json"))
                # LiteLLM invents `stop` for a stream that just ends; what the provider said stands here.
                if _says_why_it_ended(plain) and not _provider_said_why(answer):
                    raise failures.broken_off(model)
                yield [plain]
        finally:
            self._hang_up(answer)

    async def _ask(self, model: Model, step: Callable[[], Awaitable[Any]]) -> Any:  # Any: LiteLLM's objects
        failure: AttemptFailed
        try:
            return await step()
        except Exception as error:  # noqa: BLE001 - LiteLLM raises whatever its many translations raise
            failure = self._translate(model, error)
        # Raised outside of the handler: not even a hidden context may hold LiteLLM's exception.
        raise failure

    def _check_vendor(self, model: Model) -> None:
        """Raise if LiteLLM does not know whom a target means: later it would blame the request."""
        try:
            self._litellm.get_llm_provider(model=model.target, api_base=model.provider.base_url)
        except self._litellm.exceptions.BadRequestError:
            failure = failures.answered_with(model, _NOT_FOUND, {})
        else:
            return
        raise failure

    def _hang_up(self, answer: Any) -> None:  # Any: LiteLLM's stream
        """Close the upstream connection without being awaited, where a cancellation would cut it short."""
        task = asyncio.ensure_future(_close_quietly(answer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _translate(self, model: Model, error: Exception) -> AttemptFailed:
        """Return what LiteLLM's exception means; its text is read by nobody."""
        known = self._litellm.exceptions
        status = getattr(error, "status_code", None)
        match error:
            case known.ContextWindowExceededError():
                failure = failures.too_long(model)
            case known.Timeout():
                failure = failures.timed_out(model, "whole answer", model.provider.total_timeout_seconds)
            case known.APIConnectionError():
                failure = failures.broken_off(model)  # it may also never have stood: LiteLLM does not tell
            case known.UnsupportedParamsError():
                failure = failures.invalid_request(model, "unsupported_parameter", None, reached=False)
            case _ if isinstance(status, int) and status >= _LOWEST_ERROR:
                headers = getattr(error, "litellm_response_headers", None) or {}
                wanted = read_retry_after(headers, self._clock.now())
                said = {"code": getattr(error, "code", None)}
                failure = failures.answered_with(model, status, said, retry_after_seconds=wanted)
            case _:
                failure = failures.not_understood(model)
        return failure


async def _close_quietly(answer: Any) -> None:  # Any: LiteLLM's stream
    with contextlib.suppress(Exception):  # nobody waits for it, and whatever is wrong, it is over
        await answer.aclose()


def _import_quietly() -> Any:  # Any: LiteLLM's module
    for name in _OFFLINE:
        os.environ[name] = "True"
    litellm: Any = importlib.import_module("litellm")  # Any: its module-level switches are assigned below
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL)
        logger.handlers.clear()
    litellm.telemetry = False
    litellm.suppress_debug_info = True  # else it prints help texts to stdout on each error
    litellm.set_verbose = False
    litellm.drop_params = False
    litellm.turn_off_message_logging = True
    litellm.disable_streaming_logging = True
    litellm.disable_aiohttp_trust_env = True
    return litellm


def _says_why_it_ended(chunk: JsonObject) -> bool:
    return any(choice["finish_reason"] for choice in chunk["choices"])


def _provider_said_why(stream: Any) -> bool:  # Any: LiteLLM's stream
    """Tell whether the finish_reason is the provider's. Source: LiteLLM 1.106.2, `finish_reason_handler`."""
    return bool(stream.received_finish_reason or stream.intermittent_finish_reason)
