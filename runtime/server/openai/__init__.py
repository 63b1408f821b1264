"""The OpenAI-compatible routes: chat, completions, embeddings and models of the fleet."""
