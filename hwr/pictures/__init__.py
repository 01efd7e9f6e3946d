"""Pictures for people: samples, readings with their errors coloured, boxes."""
