"""Which instances to add and which to give back, as a pure function of what is there.

`capacity` is what a decision sees and `decision` what it says; `scaling` makes it. On the way
`estate` is what an environment has before, `covering` brings demand to environments, `pool` and
`fleet` are an environment while it grows, `strategy` and `market` say what may be bought at which
worth, `giving_back` and `making_room` which instances may go, and `words` tells it all to people.

Nothing here places a job: that is `longshore.domain.placing`, and neither knows the other.
"""
