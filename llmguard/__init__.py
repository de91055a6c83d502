"""The governed door between an organisation's micro apps and every language model."""
