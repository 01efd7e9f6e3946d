"""Stage `segmentation`: finds lines or words."""
