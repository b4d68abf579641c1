#!/bin/bash
# The run of configs/llama31-8b-ray.yaml on Slurm: `sbatch examples/ray/slurm.sh` in the root of the clone, which lies
# on a disk that all nodes see, as does .venv. Submitted again, it goes on where the last job ended.
#SBATCH --job-name=semievol
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=256G
#SBATCH --time=04:00:00
#SBATCH --output=semievol-%j.log
set -euo pipefail

: "${SEMIEVOL_DATA:?set it to the folder of the data; docs/data.md describes its files}"
source .venv/bin/activate
export RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300  # seconds; imports from a shared disk are slow

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000))  # two jobs may share a node

# One Ray node on each machine; the command runs on the first of them, and the cluster ends with it. The GPUs are named,
# for Ray looks for those that Slurm has given to the task.
srun --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" --kill-on-bad-exit=1 \
    ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_NNODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "$SLURM_GPUS_PER_NODE" -- \
    semievol run configs/llama31-8b-ray.yaml "$@"
