#!/bin/sh
# One afternoon on a Kubernetes cluster: an sbatch script as it is, a training over two nodes, and a report that waits
# for both. Usage: examples/kubernetes/story.sh KUBECONFIG, with a platform running (`stoker up`) and a namespace
# `stoker` in the cluster (deploy/kubernetes/rbac.yaml makes it).
set -eu
here=$(dirname "$0")
kubeconfig=$1

stoker engine add kubernetes prod --site cloud --kubeconfig "$kubeconfig" --image python:3.11-slim
stoker engine list
stoker nodes

sweep=$(stoker run --engine prod "$here/sweep.sbatch" | awk '{print $NF}')
train=$(stoker run "$here/train.yaml" | awk '{print $NF}')
stoker run --engine prod --name report --after "afterok:$sweep:$train" --follow -- \
    python3 -c 'print("four rates tried, one model trained")'

stoker logs "$train"
stoker logs "${sweep}_2"

slow=$(stoker run --engine prod --name too-long --grace 1s -- sleep 3600 | awk '{print $NF}')
stoker cancel "$slow"
stoker wait "$slow" || true # a cancelled job is no success

stoker jobs --all
stoker engine remove prod
