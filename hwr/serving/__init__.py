"""Pages read for a browser and for programs: `hwr serve`."""
