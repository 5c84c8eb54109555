#!/usr/bin/env bash
# Runs one stage of a longer job, and says when it starts and how long it took:
#
#   scripts/stage.sh NAME COMMAND [ARGUMENT...]
#
# With CONSILIUM_STAGES=FILE the line is also kept, for the summary at the end.
set -uo pipefail

name=$1
shift
printf '\n==> %s: %s\n' "$name" "$*"
start=$SECONDS
"$@"
status=$?
line=$(printf '%-8s %5d s  %s' "$([ $status = 0 ] && echo ok || echo FAILED)" $((SECONDS - start)) "$name")
printf '<== %s\n' "$line"
if [ -n "${CONSILIUM_STAGES:-}" ]; then printf '%s\n' "$line" >>"$CONSILIUM_STAGES"; fi
exit $status
