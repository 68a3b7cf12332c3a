"""What ``stoker plan`` says in Chinese; one section a subcommand."""

from __future__ import annotations

from collections.abc import Mapping

PLAN: Mapping[str, str] = {
    # memory
    "fits": "放得下",
    "does not fit": "放不下",
    "{model}, {parameters} B parameters, on {count} x {card} ({layout}): {verdict}":
        "{model}，{parameters} B 参数，{count} x {card}（{layout}）：{verdict}",
    "part": "组成",
    "size": "大小",
    "needed on the fullest device": "最满的一张卡需要",
    "there is": "可用",
    "judged by the upper bound, {bound}, 7 % above: memory was predicted that well":
        "按上界 {bound} 判断（高 7 %，即显存预测的精度）",
    "weights": "权重",
    "gradients": "梯度",
    "optimiser": "优化器",
    "activations": "激活",
    "logits": "输出概率",
    "buffers": "通信缓冲",
    "runtime": "运行时",
    "fragmentation": "碎片",
    # training
    # network
    # storage
    # serving
    # purchase
}  # fmt: skip
