"""Grey images: load them, fit them to a canvas, cut lines out; box geometry."""
