"""What `backspan demo` is made of: children (processes), screen and chart (terminal), story (what happens), report."""
