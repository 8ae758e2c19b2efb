"""A multi-node job that needs to be one: nodes that compute in rounds and add up after each.

Each node holds its own points and never shows them to others. In every round it sends the main node
how the line would have to move to come closer to its points; the main node adds these up, moves the
line, and answers with the new one, for which all nodes wait. That is data-parallel training with an
all-reduce after each step, in a shell script (`node.sh`) of which every node runs a copy.
"""
