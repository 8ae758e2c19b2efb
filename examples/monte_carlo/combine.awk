# Combines the children's partial results: the price is their mean, with its standard error.

function square_root(x,    guess, better) {
    guess = x > 1 ? x : 1
    while ((better = (guess + x / guess) / 2) < guess) guess = better
    return guess
}

BEGIN {
    results = ENVIRON["RESULTS"]; children = ENVIRON["CHILDREN"] + 0
    for (child = 0; child < children; child++) {
        file = results "/partial-" child
        if ((getline line < file) <= 0) {
            print "child " child " left no result in " file > "/dev/stderr"
            exit 1
        }
        close(file)
        split(line, part, " ")
        sum += part[1]; squares += part[2]; count += part[3]
    }
    price = sum / count
    variance = (squares - count * price * price) / (count - 1)
    error = square_root(variance / count)
    printf "%.15g %.15g %d\n", price, error, count > (results "/price")
    printf "price %.4f, standard error %.4f, %d paths\n", price, error, count
}
