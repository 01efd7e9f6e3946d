"""Stage `line`: reads line images."""
