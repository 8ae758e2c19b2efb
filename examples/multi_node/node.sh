# Fits the line y = a x + b to points that lie on all nodes, by gradient descent. Every node runs this; needs busybox.
# PORT: where the main node listens. ROUNDS: how many. POINTS: how many each node has.
set -eu
# When the main node has ended the others get SIGTERM, which the first process of a container ignores unless it says so.
trap 'exit 143' TERM
me=$AWS_BATCH_JOB_NODE_INDEX
main=$AWS_BATCH_JOB_MAIN_NODE_INDEX
nodes=$AWS_BATCH_JOB_NUM_NODES
address=${AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS:-}

# This node's points: anything will do that is the same each time.
awk -v node=$me -v points=$POINTS 'BEGIN {
    for (i = 0; i < points; i++) {
        n = node * points + i
        x = (n * 7919 % 2003) / 1001 - 1
        print x, 3 * x - 2 + (n * 104729 % 1009) / 504.5 - 1
    }
}' >points

# How wrong the line "$1 $2" is here: the sum over this node's points of the error, and of the error times x.
gradient() {
    awk -v a=$1 -v b=$2 '{ e = a * $1 + b - $2; s += e; t += e * $1 } END { printf "%.12g %.12g\n", t, s }' points
}

# Main node: answers a node's "round t s" with the line after that round, once there is one.
cat >answer.sh <<'END'
read -r round node t s
echo "$t $s" >part.new.$node
mv part.new.$node part.$round.$node
until [ -e line.$round ]; do sleep 0.02; done
cat line.$round
END

# Main node: waits for the parts of all nodes and writes the next line.
add_up() {
    until [ $(ls part.$1.* 2>/dev/null | wc -l) = $nodes ]; do sleep 0.02; done
    cat part.$1.* | awk -v a=$2 -v b=$3 -v n=$((nodes * POINTS)) \
        '{ t += $1; s += $2 } END { printf "%.12g %.12g\n", a - t / n, b - s / n }' >line.new
    mv line.new line.$1
}

# The other nodes: tells the main node, and sets the line that it answers; again and again, as it may not listen yet.
# Not in a subshell: this shell could not be stopped while that goes on.
ask() {
    line=
    until [ -n "$line" ]; do
        line=$(echo "$*" | busybox nc -w 5 $address $PORT 2>/dev/null) || sleep 0.1
    done
}

if [ $me = $main ]; then
    busybox nc -ll -p $PORT -e sh answer.sh &
fi
line="0 0"
round=0
while [ $round -lt $ROUNDS ]; do
    if [ $me = $main ]; then
        gradient $line >part.new.$me
        mv part.new.$me part.$round.$me
        add_up $round $line
        line=$(cat line.$round)
    else
        ask $round $me $(gradient $line)
    fi
    round=$((round + 1))
    [ $((round % 10)) != 0 ] || echo "round $round: line $line"
done
[ $me != $main ] || echo "result $line"
