"""Statistical process control, pure: numbers in, numbers out. Standard library only, no I/O, no OpenTelemetry.

What pages:

- `backspan.spc.shiryaev`: event-weighted mixture Shiryaev-Roberts, on shares and on events per exposure.
- `backspan.spc.betting`: the same on bounded scores, such as stars or a judge's score.
- `backspan.spc.baseline`: what rate is normal, learnt from windows, with dispersion and autocorrelation.
- `backspan.spc.phases`: the life of one cohort: learning, inherited, frozen, given, rebased, alarm.

What people look at (`backspan.spc.points` is the shape they share):

- `backspan.spc.pchart`, `backspan.spc.uchart`: shares and events per exposure; Shewhart's and Laney's limits.
- `backspan.spc.gchart`: gaps between rare events.
- `backspan.spc.variables`: X-bar-S and individuals with moving ranges.
- `backspan.spc.ewma`, `backspan.spc.cusum`, `backspan.spc.runs`: charts with a memory, run rules.

What is asked before and beside:

- `backspan.spc.arl`, `backspan.spc.runs_arl`, `backspan.spc.simulate`: run lengths, exactly or simulated.
- `backspan.spc.sequential`, `backspan.spc.split`: a variant against its control, and whether the traffic was split as
  meant, at every moment.
- `backspan.spc.burn`: error budgets and burn rates. `backspan.spc.power`: how many events reveal a change.
"""
