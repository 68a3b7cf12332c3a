# Runs a job where it needs more than a container runtime gives:
# sh -c THIS stoker OUT ERR PACKAGE DIR MARK SIGNAL LEAD COMMAND...
# OUT, ERR: files for its output; PACKAGE: a .tar.gz to unpack here, DIR: where the job then starts; MARK: bring what
# the job reports back through the log, each line after MARK; SIGNAL: the number of the one that tells the job to save
# itself, LEAD: seconds until SIGTERM follows. Each may be empty. Any POSIX shell will do.
out=$1 err=$2 package=$3 dir=$4 mark=$5 signal=$6 lead=$7
shift 7
if [ -n "$package" ]; then
    tar -xzf "$package" || { echo "stoker: the package cannot be unpacked" >&2; exit 125; }
    cd "$dir" || exit 125
fi
# Lines go in one write each, so that they never fall into the middle of another line; long ones in pieces.
relay() {
    rest=
    while :; do
        over=
        [ -e "$STOKER_PROBE.over" ] && over=1
        while IFS= read -r line; do
            line=$rest$line rest=
            while [ "${#line}" -gt 900 ]; do
                piece=$(printf '%.900s.' "$line") piece=${piece%.}
                printf '%s+%s\n' "$mark" "$piece"
                line=${line#"$piece"}
            done
            printf '%s %s\n' "$mark" "$line"
        done
        rest=$rest$line
        [ -n "$over" ] && break
        sleep 0.2 2>/dev/null || sleep 1
    done
}
if [ -n "$mark" ]; then
    : > "$STOKER_PROBE"
    chmod a+rw "$STOKER_PROBE" 2>/dev/null
    (trap '' TERM; relay < "$STOKER_PROBE") &
    relay=$!
fi
# To all below $1, and $1 itself, that handle the signal: the others would end of it.
warn() {
    for below in $(cat "/proc/$1/task/"*/children 2>/dev/null); do warn "$below"; done
    caught=$(sed -n 's/^SigCgt:.*\(........\)$/\1/p' "/proc/$1/status" 2>/dev/null)
    [ -n "$caught" ] && [ $((0x$caught >> (signal - 1) & 1)) = 1 ] && kill "-$signal" "$1" 2>/dev/null
}
end() {
    if [ -n "$signal" ] && [ -z "$timer" ]; then
        warn "$child"
        (sleep "$lead"; kill -TERM "$child" 2>/dev/null) &
        timer=$!
    else
        kill -TERM "$child" 2>/dev/null
    fi
}
timer=
(
    if [ -n "$out" ]; then exec >> "$out" || exit 125; fi
    if [ -n "$err" ]; then exec 2>> "$err" || exit 125; fi
    if [ -n "$out" ] && [ -z "$err" ]; then exec 2>&1; fi
    exec "$@"
) &
child=$!
asked=
trap 'asked=1; end' TERM
wait "$child"
code=$?
while [ -n "$asked" ]; do # the signal ended the waiting, not the job
    asked=
    wait "$child"
    code=$?
done
[ -z "$timer" ] || kill "$timer" 2>/dev/null
if [ -n "$mark" ]; then
    : > "$STOKER_PROBE.over"
    wait "$relay"
fi
exit "$code"
