"""Stage `denoiser`: corrects texts."""
