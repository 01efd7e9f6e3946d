"""Page layout without a network: ink, baselines, seams between lines, reading order."""
