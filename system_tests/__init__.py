"""``make system``: what only a real scheduler, real triggerers and real crashes can show."""
