"""The same fit on one machine, at once: what the nodes must come to."""

#: Longest distance between the nodes' line and the right one, in slope and in intercept.
TOLERANCE = 0.001


def point(number: int) -> tuple[float, float]:
    """A point of `node.sh`: near the line y = 3 x - 2."""
    x = (number * 7919 % 2003) / 1001 - 1
    return x, 3 * x - 2 + (number * 104_729 % 1009) / 504.5 - 1


def least_squares(nodes: int, points: int) -> tuple[float, float]:
    """Slope and intercept of the line with the least squares, over the points of all nodes."""
    every = [point(number) for number in range(nodes * points)]
    x_mean = sum(x for x, _ in every) / len(every)
    y_mean = sum(y for _, y in every) / len(every)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in every) / sum(
        (x - x_mean) ** 2 for x, _ in every
    )
    return slope, y_mean - slope * x_mean
