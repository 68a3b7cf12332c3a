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
    "{model}, {parameters} B parameters ({active} B active), on {count} x {card}: {looked} layouts looked at":
        "{model}，{parameters} B 参数（激活 {active} B），{count} x {card}：共比较 {looked} 种切分",
    "the best: where a step's time goes": "最佳方案：每步时间构成",
    "and the fullest device's memory": "以及最满的一张卡的显存构成",
    "goodput {share}: a failure every {mtbf} on average, a checkpoint every {interval} that takes {stands}":
        "有效训练时间 {share}：平均每 {mtbf} 故障一次，每 {interval} 保存一次检查点，每次停顿 {stands}",
    "not taken": "未采用",
    "products": "矩阵乘",
    "attention": "注意力",
    "elementwise": "逐元素运算",
    "recompute": "重计算",
    "tensor parallel communication": "张量并行通信",
    "expert parallel communication": "专家并行通信",
    "context parallel communication": "上下文并行通信",
    "pipeline communication": "流水线并行通信",
    "data parallel communication": "数据并行通信",
    "bubble": "流水线气泡",
    "the rest of a step": "其他",
    # network
    # storage
    # serving
    # purchase
}  # fmt: skip
