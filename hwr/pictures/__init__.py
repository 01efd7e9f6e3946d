"""Pictures that people look at: samples, readings, boxes."""
