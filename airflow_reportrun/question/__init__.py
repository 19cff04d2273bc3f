"""What a task asks Stripe for: which report, of which interval, and whether its data is there."""
