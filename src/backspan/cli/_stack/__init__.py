"""Building and running the back end's programs without Docker.

- `backspan.cli._stack.build`: Go modules -> binaries in a cache folder.
- `backspan.cli._stack.plan`: where everything of one stack is: ports, folders, the programs' command lines.
- `backspan.cli._stack.render`: the files of ``collector/`` -> the same files for loopback.
- `backspan.cli._stack.process`: one program: start, readiness, stop.
- `backspan.cli._stack.run`: all of them, and the file that says what runs.
"""
