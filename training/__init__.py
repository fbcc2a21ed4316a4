"""How worlds are made: one module for each stage, named as its command of `dreamgym`."""
