"""The parts of ``backspan spc``: one file per subcommand, where the history comes from, and what draws it."""
