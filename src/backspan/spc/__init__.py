"""Statistical process control, pure: numbers in, numbers out. Standard library only, no I/O, no OpenTelemetry.

- `backspan.spc.pchart`: the p-chart that people look at (Shewhart; Laney's p').
- `backspan.spc.shiryaev`: the detector that pages (event-weighted mixture Shiryaev-Roberts).
"""
