"""Stage `paragraph`: finds the handwritten area."""
