"""Grey images: loaded, fitted, cut; boxes on them."""
