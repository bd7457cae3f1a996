#!/bin/sh
# One of several machines that train together. Start the same on each, with its number from 0:
#
#     FIRST=node0 MACHINES=2 PROCESSES=8 examples/machine.sh 0 -m pipelines.train_gan
#
# FIRST is the name or address of machine 0, which must be reachable on PORT (29500); PROCESSES is
# how many each machine starts, one per GPU. A script and its arguments may stand for `-m MODULE`.
set -eu
: "${FIRST:?the name or address of machine 0}" "${MACHINES:?how many there are}"
: "${PROCESSES:?how many processes each machine starts}"
number=${1:?the number of this machine, from 0}
shift
exec accelerate launch --multi_gpu --num_machines "$MACHINES" --machine_rank "$number" \
    --num_processes $((MACHINES * PROCESSES)) --mixed_precision no --dynamo_backend no \
    --main_process_ip "$FIRST" --main_process_port "${PORT:-29500}" "$@"
