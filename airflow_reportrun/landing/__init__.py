"""From a finished report run to a verified file."""
