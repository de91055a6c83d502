"""Where models are called: echo, OpenAI's wire format, and everything LiteLLM translates."""
