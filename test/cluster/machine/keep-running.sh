#!/bin/sh
# Runs a program and starts it again whenever it ends, as systemd would: tests kill programs.
# usage: keep-running.sh NAME PROGRAM [ARGUMENT…]
# RECORDS/NAME.pid is the process of the moment; while there is a file RECORDS/NAME.stopped, it is not started again.
set -u
name=$1
shift
while :; do
  until [ ! -e "$RECORDS/$name.stopped" ]; do sleep 0.2; done
  "$@" < /dev/null >> "$LOGS/$name.log" 2>&1 &
  echo $! > "$RECORDS/$name.pid"
  wait $!
  echo "keep-running: $name ended with status $?" >> "$LOGS/$name.log"
  rm -f "$RECORDS/$name.pid"
  sleep 0.2
done
