"""Who plays, and where: policies, dreams, real games, and the processes in which they run."""
