# One child's share of the work: simulates paths of a stock to the option's expiry and writes the sum, the
# sum of squares and the number of the discounted payoffs of a European call.
#
# Seeded from the array index, so that every child draws other numbers and draws the same again if it is
# tried again. Everything comes from the environment. Some awks are built without log, exp and sqrt, so
# these are made here from arithmetic alone, to about twelve digits.

function exponential(x,    y, sum, term, n) {
    y = x / 16; sum = 1; term = 1
    for (n = 1; n <= 9; n++) { term *= y / n; sum += term }
    sum *= sum; sum *= sum; sum *= sum; sum *= sum
    return sum
}

function logarithm(x,    halvings, t, square, power, sum, n) {
    halvings = 0
    while (x < 0.70710678118654752) { x += x; halvings++ }
    t = (x - 1) / (x + 1); square = t * t; power = t; sum = t
    for (n = 3; n <= 15; n += 2) { power *= square; sum += power / n }
    return 2 * sum - halvings * 0.69314718055994531
}

function square_root(x,    guess, better) {
    guess = x > 1 ? x : 1
    while ((better = (guess + x / guess) / 2) < guess) guess = better
    return guess
}

function sample(normal,    payoff) {
    payoff = spot * exponential(drift + diffusion * normal) - strike
    payoff = payoff > 0 ? discount * payoff : 0
    sum += payoff
    squares += payoff * payoff
}

BEGIN {
    child = ENVIRON["AWS_BATCH_JOB_ARRAY_INDEX"] + 0
    spot = ENVIRON["SPOT"] + 0; strike = ENVIRON["STRIKE"] + 0; rate = ENVIRON["RATE"] + 0
    volatility = ENVIRON["VOLATILITY"] + 0; years = ENVIRON["YEARS"] + 0
    paths = ENVIRON["PATHS"] + 0; results = ENVIRON["RESULTS"]
    print child, ENVIRON["AWS_BATCH_JOB_ATTEMPT"] >> (results "/started")
    close(results "/started")

    drift = (rate - volatility * volatility / 2) * years
    diffusion = volatility * square_root(years)
    discount = exponential(-rate * years)
    srand(ENVIRON["SEED"] + child)
    for (done = 0; done < paths; done += 2) {
        # Box and Muller's method in Marsaglia's polar form: two normal variates from a point in the unit disc.
        do {
            u = 2 * rand() - 1; v = 2 * rand() - 1; radius = u * u + v * v
        } while (radius >= 1 || radius <= 0)
        factor = square_root(-2 * logarithm(radius) / radius)
        sample(u * factor)
        sample(v * factor)
    }
    printf "%.15g %.15g %d\n", sum, squares, done > (results "/partial-" child)
    printf "child %d: %d paths, %.4f\n", child, done, sum / done
}
