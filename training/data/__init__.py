"""What was played: episodes on the disk, and the same in V's words."""
