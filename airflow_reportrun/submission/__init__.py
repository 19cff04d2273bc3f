"""How a report run comes to be, exactly once: its idempotency key, and what a task remembers over its tries."""
