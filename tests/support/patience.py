"""How long tests wait for what comes."""

#: For everything that comes by itself: what decides is that it comes, never when. Not even a
#: process that got no processor for ten seconds is late then.
PATIENCE_SECONDS = 60.0
