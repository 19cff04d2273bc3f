"""Waiting at Stripe: when to look, in a worker or in the triggerer, and how it ends."""
