#!/usr/bin/env bash
# A benchmark on a Slurm cluster in one file: one Ray head, one worker per node, one driver.
#
#   sbatch --nodes=4 examples/slurm_benchmark.sh /data/BUSI /scratch/busi --folds 5 --seeds 3 \
#       --weights /data/mobilenetv2_100.safetensors
#
# First the folder of images and the one for results, which must be on a disk that every node sees,
# then options of `sonobalance benchmark`. `sonobalance[ray]` must be installed in the environment
# that is active when the job is submitted. Cut off by the time limit or a lost node? Submit the
# same line again: finished units are kept, and a unit that was being trained goes on from its last
# epoch.
#SBATCH --job-name=sonobalance
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=3G
#SBATCH --time=24:00:00
set -euo pipefail

data=$1 out=$2
shift 2
unit_cpus=${UNIT_CPUS:-2} # cores per unit: cpus-per-task / unit_cpus units run on a node at a time
port=${RAY_PORT:-6379}
# Without a token anybody who reaches the head could run code on it.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=$unit_cpus

nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):$port

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  ray start --head --node-ip-address="${address%:*}" --port="$port" \
  --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false --block &
sleep 20
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap \
    ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done
sleep 20

export RAY_ADDRESS=$address
sonobalance benchmark "$data" --out "$out" --executor ray --unit-cpus "$unit_cpus" "$@"
