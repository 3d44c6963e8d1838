"""The processes of an agent: those that live, what has forked them, and its own successor."""
