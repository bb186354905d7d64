#!/bin/sh
# Counts in its output and in a file, and notes when it is asked to end.
trap 'echo asked >/tmp/counts.asked; exit 0' TERM
n=0
while :; do
  n=$((n + 1))
  echo "line $n"
  echo $n >/tmp/counts
  sleep 0.1
done
