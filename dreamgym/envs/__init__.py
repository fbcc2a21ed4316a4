"""The dream and the real games as Gymnasium environments."""
