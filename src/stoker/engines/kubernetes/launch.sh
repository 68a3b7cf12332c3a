# Runs a job where it needs more than a container runtime gives: sh -c THIS stoker OUT ERR PACKAGE DIR MARK COMMAND...
# OUT, ERR: files for its output; PACKAGE: a .tar.gz to unpack here, DIR: where the job then starts; MARK: bring what
# the job reports back through the log, each line after MARK. Each may be empty. Any POSIX shell will do.
out=$1 err=$2 package=$3 dir=$4 mark=$5
shift 5
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
(
    if [ -n "$out" ]; then exec >> "$out" || exit 125; fi
    if [ -n "$err" ]; then exec 2>> "$err" || exit 125; fi
    if [ -n "$out" ] && [ -z "$err" ]; then exec 2>&1; fi
    exec "$@"
) &
child=$!
asked=
trap 'asked=1; kill -TERM "$child" 2>/dev/null' TERM
wait "$child"
code=$?
while [ -n "$asked" ]; do # the signal ended the waiting, not the job
    asked=
    wait "$child"
    code=$?
done
if [ -n "$mark" ]; then
    : > "$STOKER_PROBE.over"
    wait "$relay"
fi
exit "$code"
