"""Serving: what an inference engine should deliver on given accelerators.

quantisation   bytes of a weight, of a cached value, and the units that multiply them
split          how one replica is spread over devices: tp, pp, ep, attention data parallelism
curves         the few measured numbers: shares of peaks, what an engine spends beside the kernels
work           bytes, FLOP, kernels and collectives of one pass through the model
step           seconds of a decode step and of a prefill
cache          memory: weights, cache, how many sequences fit
replica        a closed loop of users on one replica: TTFT, TPOT, throughput
load           requests that arrive by themselves: waiting, and how many replicas an objective needs
"""
