"""How the shipped worlds are made: collect, vision, memory, controller, evaluate."""
