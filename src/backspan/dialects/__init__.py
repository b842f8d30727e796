"""What other instrumentations call things, and what the GenAI conventions call them.

`names` is the one table. `apply.translated` reads a span's attributes by it, for spans that our own receiver gets;
`ottl` makes the Collector's `transform` processor from it, and ``python -m backspan.dialects`` writes that into
``collector/collector.yaml``.
"""
