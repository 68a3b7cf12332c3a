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
    "{model}, {parameters} B parameters: the fewest cards that hold its training, {sequence} tokens a sequence":
        "{model}，{parameters} B 参数：训练（序列 {sequence} token）最少需要的卡数",
    "over {most}": "超过 {most}",
    "it fits on {count} x {card} ({layout}): {needed} of {there}":
        "{count} x {card}（{layout}）放得下：需要 {needed}，共有 {there}",
    "no split over up to {most} of these cards holds it: a smaller model or sequence":
        "用这种卡，最多 {most} 张、怎样切分都放不下：请用更小的模型或更短的序列",
    "weights": "权重",
    "gradients": "梯度",
    "optimiser": "优化器",
    "activations": "激活",
    "logits": "输出概率",
    "buffers": "通信缓冲",
    "runtime": "运行时",
    "fragmentation": "碎片",
    # training
    "{model}, {parameters} B parameters{active}, on {count} x {card}: {looked} layouts looked at":
        "{model}，{parameters} B 参数{active}，{count} x {card}：共比较 {looked} 种切分",
    " ({active} B active)": "（激活 {active} B）",
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
    "{servers} servers with {cards} x {card}, {nics} ports of {speed} Gb/s each: {shape}":
        "{servers} 台服务器，每台 {cards} x {card}、{nics} 个 {speed} Gb/s 端口：{shape}",
    "{layers} layers, by rails": "{layers} 层，轨道优化（rail）",
    "{layers} layers, by racks": "{layers} 层，按机柜（spine-leaf）",
    "one switch": "一台交换机",
    "two layers suffice for so many servers": "这么多服务器用两层就够了",
    "layer": "层",
    "switches": "交换机",
    "model": "型号",
    "down": "下行",
    "up": "上行",
    "oversubscription": "收敛比",
    "leaf": "接入层（leaf）",
    "spine": "汇聚层（spine）",
    "core": "核心层（core）",
    "pod": "Pod",
    "port": "端口",
    "to buy": "采购项",
    "count": "数量",
    "for": "用途",
    "power": "功耗",
    "server": "服务器",
    "leaf, to servers": "接入层到服务器",
    "server to leaf": "服务器到接入层",
    "leaf to spine": "接入层到汇聚层",
    "spine to core": "汇聚层到核心层",
    "fibre": "光纤",
    "copper": "铜缆",
    "transceiver": "光模块",
    "bisection {bandwidth} TB/s each way, oversubscription {ratio}:1; all-reduce at most {bound} GB/s":
        "单向对分带宽 {bandwidth} TB/s，总收敛比 {ratio}:1；all-reduce 最高 {bound} GB/s",
    "all-reduce over all cards": "全部加速卡的 all-reduce",
    "time": "时间",
    "bus bandwidth": "总线带宽",
    "low to high": "下界-上界",
    "when one fails": "故障域（坏一个）",
    "there are": "总数",
    "servers hit": "受影响服务器",
    "bandwidth they lose": "损失带宽",
    "share of it that collectives reach": "集合通信可达到的比例",
    "bisection": "对分带宽",
    "bound": "上限",
    "written: {files} in {folder}": "已写入 {folder}：{files}",
    # storage
    "a checkpoint of {parameters} B parameters is {size} TB, {each} GB of each of {servers} servers; some card "
    "fails every {mtbf}":
        "{parameters} B 参数的检查点为 {size} TB，{servers} 台服务器各 {each} GB；平均每 {mtbf} 有一张卡出故障",
    "all servers together hold the data": "所有服务器合起来放得下数据集",
    "too small for the data": "放不下数据集",
    "its size is not told": "未说明容量",
    "host memory": "主机内存（tmpfs）",
    "NVMe": "本地 NVMe",
    "in host memory, then in the background": "先写主机内存，后台落盘",
    "on NVMe, then in the background": "先写本地 NVMe，后台落盘",
    "on the file system": "直接写并行文件系统",
    "on the file system by GPUDirect Storage": "经 GPUDirect Storage 写并行文件系统",
    "checkpoint": "检查点",
    "training stops": "训练停顿",
    "every": "间隔",
    "time lost": "损失时间",
    "read back": "读回",
    "outlives a server": "服务器损坏后仍在",
    "not told": "未说明",
    "yes": "是",
    "no": "否",
    "the file system must": "文件系统要求",
    "needed": "需要",
    "enough": "够",
    "too little": "不够",
    "write at least": "写带宽不低于",
    "read at least": "读带宽不低于",
    "capacity at least": "容量不低于",
    "time lost: stop / every + (every / 2 + restart) / time between failures":
        "损失时间 = 停顿 / 间隔 +（间隔 / 2 + 重启）/ 故障间隔",
    # serving
    "{model} in {formats}, {engine}, on {card}: {rate} requests/s of {prompt} + {answer} tokens; "
    "first token within {ttft} s for 95 %, then one every {tpot} ms":
        "{model}（{formats}），{engine}，{card}：每秒 {rate} 个请求，输入 {prompt} + 输出 {answer} token；"
        "95 % 的首 token 不超过 {ttft} s，此后每 {tpot} ms 一个 token",
    "separate prefill pays off: {cards} cards ({layout}, {decoding} replicas decode, {prefilling} prefill)":
        "预填充与解码分离（PD 分离）更省：{cards} 张卡（{layout}，解码副本 {decoding}，预填充副本 {prefilling}）",
    "separate prefill does not pay off: {cards} cards at best":
        "预填充与解码分离（PD 分离）不划算：最少也要 {cards} 张卡",
    "the cluster described has {count} cards: too few": "所述集群只有 {count} 张卡，不够",
    # purchase
    "{option} costs as much as {first} when its servers cost {share} of your price":
        "{option} 的服务器降到现价的 {share} 时，总成本与 {first} 持平",
    "every number: --explain      no cost without your prices: --prices FILE":
        "每个数字的依据：--explain      没有价格就不算成本：--prices 文件",
    "cost over {years} years with energy; every number: --explain      prices: yours, of {asked}":
        "{years} 年成本（含电费）；每个数字的依据：--explain      价格由您提供，询价日期 {asked}",
    # picture of a network
    "{servers} servers x {nics} ports of {speed} Gb/s": "{servers} 台服务器 x {nics} 个 {speed} Gb/s 端口",
    "{count} cores": "核心层 {count} 台",
    "{count} spines": "汇聚层 {count} 台",
    "{count} leaves": "接入层 {count} 台",
    "{count} servers": "服务器 {count} 台",
    "plane {number}: {cores}": "平面 {number}：{cores}",
    "{count} from {first}": "{first} 起 {count} 台",
    "{model}, {links} links below": "{model}，下行链路 {links} 条",
    "{model}, {down} down, {up} up": "{model}，下行 {down}，上行 {up}",
    "{nics} ports each": "每台 {nics} 个端口",
}  # fmt: skip
