"""What was played: episodes of frames on the disk, and the same episodes as V's latents."""
