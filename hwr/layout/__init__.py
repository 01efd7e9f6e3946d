"""A page's layout: ink, baselines, seams between lines, reading order."""
