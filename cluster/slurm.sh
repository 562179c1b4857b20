#!/usr/bin/env bash
# A sweep on Slurm, from the project's folder on a file system that all nodes share:
#
#     sbatch cluster/slurm.sh sweeps/cifar10.yaml --results /shared/results
#
# What stands behind slurm.sh goes to `python -m dvq_ray.sweep`. Options of sbatch may stand before it, and override the
# lines below: sbatch --nodes=4 --time=12:00:00 cluster/slurm.sh ...

#SBATCH --job-name=dvq_ray
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
# Whole nodes: when the sweep is over, Ray ends every Ray process of yours on them.
#SBATCH --exclusive
# All memory too: --exclusive gives whole nodes, and of their memory what the partition has as its default.
#SBATCH --mem=0
#SBATCH --time=24:00:00
# At its time limit, preempted, or after a lost node, the job goes back to the queue, and goes on from its store when it
# runs again. A preempted one loses what its trainings did since their last checkpoints (checkpoint_seconds in the sweep
# file): Slurm then signals Ray on every node, and not this script first.
#SBATCH --requeue
# Five minutes before the limit this script, and nothing else, gets SIGTERM: time for the trainings' last checkpoints.
#SBATCH --signal=B:TERM@300
#SBATCH --output=dvq_ray-%j.log
#SBATCH --open-mode=append

set -euo pipefail

cd "$SLURM_SUBMIT_DIR"
PATH="$PWD/.venv/bin:$PATH" # the virtual environment of `make`, or else whatever is active

# An address of this node, which becomes the head, so that the driver can be sent a signal from here. Not its name: on
# Debian and Ubuntu that leads to 127.0.1.1 here, and no node would know itself to be the head. The one that Slurm knows
# comes first; HEAD_ADDRESS=10.0.0.7 names another where nodes are on several networks.
head_address() {
    local own candidate
    own=" $(hostname -I) "
    # shellcheck disable=SC2046,SC2086 # words
    for candidate in ${HEAD_ADDRESS:-$(scontrol getaddrs "$SLURMD_NODENAME" 2> /dev/null \
        | sed -En 's/.* ([0-9.]+):[0-9]+$/\1/p') $(getent ahostsv4 "$SLURMD_NODENAME" | cut -d ' ' -f 1) $own}; do
        if [[ $candidate != 127.* && $candidate != *:* && $own == *" $candidate "* ]]; then
            echo "$candidate"
            return
        fi
    done
    echo "no address of $SLURMD_NODENAME that other nodes can reach: HEAD_ADDRESS is '${HEAD_ADDRESS:-}';" \
        "allowed: one of$own" >&2
    return 1
}
address="$(head_address):6379"
pid_file=$(mktemp)

# Ray runs whatever it is sent, and other users are on the same network: only who has this token is heard.
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
RAY_TMPDIR="/tmp/dvq_ray_$SLURM_JOB_ID" # /tmp/ray may belong to somebody else
RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # seconds; Python can take long to start from a shared file system
RAY_USAGE_STATS_ENABLED=0
export PATH RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_TMPDIR RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT RAY_USAGE_STATS_ENABLED

told=
# shellcheck disable=SC2329 # the trap calls it
tell_driver() {
    told=yes
    kill -TERM "$(cat "$pid_file")" || true # it may not have begun yet
}
trap tell_driver TERM

# Ray opens its folder to every user of the machine, so the one around it is closed. It fails if somebody else made it.
# shellcheck disable=SC2016 # it is the inner shell's
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
    sh -c 'mkdir -p "$RAY_TMPDIR" && chmod 700 "$RAY_TMPDIR"' || { rm -f "$pid_file"; exit 1; }

# The same command on every node: the one named in --address becomes the head and runs the driver, the others join it.
# shellcheck disable=SC2016 # $$ and $@ are the inner shell's
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" \
    ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" -- \
    bash -c 'echo $$ > "$0"; exec "$@"' "$pid_file" python -m dvq_ray.sweep --address "$address" "$@" &
step=$!

code=0
wait "$step" || code=$?
if [[ $told && $code -eq 143 ]]; then # the signal ended `wait`; the driver is still at its last checkpoints
    code=0
    wait "$step" || code=$?
fi

srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 rm -rf "$RAY_TMPDIR" "$pid_file" || true
if [[ $told && $code -eq 130 ]]; then # 130: interrupted, with work left
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
