"""What errors of planning and of the performance model say in Chinese; see `error_texts`."""

from __future__ import annotations

from collections.abc import Mapping

PLANNING: Mapping[str, str] = {
    # words
    "cards": "卡数",
    "servers": "服务器数",
    "sequences": "序列数",
    "tokens": "token 数",
    "collective": "集合通信",
    "accelerator": "加速卡",
    "switch": "交换机",
    "optic": "光模块",
    "price": "单价",
    "parameters": "参数量",
    "no layout": "没有可行的并行切分",
    "more devices or shorter sequences are needed": "需要更多卡或更短的序列",
    # fields of the forms
    "{cards} cards were given; allowed are up to {most}, above {server} in whole servers": (
        "给出了 {cards} 张卡；最多 {most} 张，超过 {server} 张时须为整台服务器"
    ),
    "{count} cards were given; allowed are up to {most}, above {server} in whole servers": (
        "给出了 {count} 张卡；最多 {most} 张，超过 {server} 张时须为整台服务器"
    ),
    '"{given}" {what} were given; write a whole number of 1 or more': "{what}为“{given}”；应为不小于 1 的整数",
    '{what} "{given}" was given; write a number, as 40 or 300e9': "{what}为“{given}”；应为数字，例如 40 或 300e9",
    "{what} {given} was given; it must be {least} or more": "{what}为 {given}；应不小于 {least}",
    '{what} "{given}" was given; it must be above 0': "{what}为“{given}”；应大于 0",
    "{what} {value} was given; it must be above 0": "{what}为 {value}；应大于 0",
    "{name} {value} s was given; it must be above 0": "{name} 为 {value} 秒；应大于 0",
    "{name} {value} was given; it must be 1 or more": "{name} 为 {value}；应不小于 1",
    "{where}: {count} was given; it must be 1 or more": "{where}：给出了 {count}；应不小于 1",
    'cards "{cards}" were given; name 1 to {most}, as H100, H20': (
        "卡型为“{cards}”；请列出 1 到 {most} 种，例如 H100, H20"
    ),
    "choose a model to train, one to serve, or both": "请选择要训练的模型、要服务的模型，或两者",
    'price "{part}" was given; write card=price of a server of eight, as H20=1000000': (
        "价格“{part}”无法识别；请写 卡型=八卡服务器价格，例如 H20=1000000"
    ),
    'oversubscription "{ratio}" was given; write a number of 1 or more': "收敛比为“{ratio}”；应为不小于 1 的数字",
    "oversubscription {ratio} was given; 1 (none) to 100 is allowed": "收敛比为 {ratio}；允许 1（无收敛）到 100",
    "oversubscription {ratio} was given; 1 (none) or more is allowed": "收敛比为 {ratio}；应不小于 1（无收敛）",
    "allowed are {shardings}; and {recomputes}": "允许的切分方式：{shardings}；重计算方式：{recomputes}",
    'precision "{text}" was given{near}': "没有精度“{text}”{near}",
    'quantisation "{text}" was given{near}': "没有量化方式“{text}”{near}",
    "{where}: {text} was given; write a number above 0 with its unit, as {example}": (
        "{where}：给出了 {text}；应为大于 0 且带单位的数，例如 {example}"
    ),
    (
        "{where}: {text} is {gigabytes} GB/s, and bytes are usual here; write {number}{prefix}B/s "
        "if bytes were meant, "
        "else {eighth}{again}B/s"
    ): (
        "{where}：{text} 即 {gigabytes} GB/s，此处通常用字节；若指字节请写 {number}{prefix}B/s，"
        "否则写 {eighth}{again}B/s"
    ),
    (
        "{where}: {text} is {gigabits} Gb/s, and bits are usual for ports; write {number}{prefix}b/s "
        "if bits were meant, "
        "else {eightfold}{again}b/s"
    ): (
        "{where}：{text} 即 {gigabits} Gb/s，端口通常用比特；若指比特请写 {number}{prefix}b/s，否则写 "
        "{eightfold}{again}b/s"
    ),
    "{what}: resources.nic.speed is missing; write for example 400Gb/s": (
        "{what}：缺少 resources.nic.speed；例如 400Gb/s"
    ),
    "{what}: a cluster is described as in: resources: {gpu: {type: H100, count: 8}}": (
        "{what}：集群应如此描述：resources: {gpu: {type: H100, count: 8}}"
    ),
    "{what}: network.oversubscription {ratio} was given; 1 is none": (
        "{what}：network.oversubscription 为 {ratio}；1 表示无收敛"
    ),
    "a collective among {ranks} ranks was asked for; 1 or more are allowed": (
        "集合通信的 rank 数为 {ranks}；应不小于 1"
    ),
    "{inside} of {ranks} ranks in each domain were given; 1 to {most} are allowed": (
        "每域 {inside} 个（共 {ranks} 个 rank）；允许 1 到 {most}"
    ),
    "a domain of {size} accelerators was given; 1 or more are allowed": "互连域大小为 {size}；应不小于 1",
    "{size} accelerators in a domain need the bandwidth of what joins them": "{size} 卡的互连域需要给出互连带宽",
    "times, sizes, rates and counts must not be below 0": "时间、容量、速率和数量不能为负",
    "--keep {keep} was given; at least 1 checkpoint must be kept": "保留检查点数为 {keep}；至少保留 1 个",
    "prices must be 0 or more; leave out what is not known": "价格不能为负；不清楚的请留空",
    "{count} {what} were given; 1 or more are allowed": "{what}为 {count}；应不小于 1",
    # the catalogue
    'no {kind} "{name}" in the catalogue{near}': "目录中没有{kind}“{name}”{near}",
    'no model "{name}" in the catalogue{near}; or give a folder with its config.json': (
        "目录中没有模型“{name}”{near}；也可给出含 config.json 的目录"
    ),
    'no collective "{kind}"{near}': "没有集合通信“{kind}”{near}",
    'no stack "{name}" in the catalogue{near}': "目录中没有软件栈“{name}”{near}",
    "nobody states the memory bandwidth of {card}; give memory_bandwidth in the cluster file": (
        "{card} 的显存带宽没有公开资料；请在集群文件中给出 memory_bandwidth"
    ),
    "{card} has no memory of its own; give the server's memory in the cluster file": (
        "{card} 没有自己的显存；请在集群文件中给出服务器内存"
    ),
    "{card} has no {precision} peak in the catalogue; it has {known}": (
        "目录中 {card} 没有 {precision} 峰值算力；现有 {known}"
    ),
    "{card} has no units for {precision} in the catalogue": "目录中 {card} 没有支持 {precision} 的计算单元",
    "nobody states the power of {card}; leave it out, or add it to the catalogue": (
        "{card} 的功耗没有公开资料；请去掉它，或将其加入目录"
    ),
    "how fast the {tier} is is not told: give storage in the cluster file": (
        "未说明 {tier} 的速度：请在集群文件中给出 storage"
    ),
    '{what}: models of family "{family}" are not modelled; modelled are {known}': (
        "{what}：{family} 系列的模型未建模；已建模 {known}"
    ),
    "no {path}; give a model folder with config.json, or a name": (
        "没有 {path}；请给出含 config.json 的模型目录或名称"
    ),
    # what does not fit together
    "tp {tp} x pp {pp} x cp {cp} = {product} does not divide {devices} devices": (
        "tp {tp} × pp {pp} × cp {cp} = {product}，不能整除 {devices} 张卡"
    ),
    "tp {tp} does not divide the {heads} attention heads of {model}": (
        "tp {tp} 不能整除 {model} 的 {heads} 个注意力头"
    ),
    "tp {tp} does not divide the {heads} Mamba heads of {model}": "tp {tp} 不能整除 {model} 的 {heads} 个 Mamba 头",
    "tp {tp} does not divide the feed-forward width {width} of {model}": (
        "tp {tp} 不能整除 {model} 的前馈宽度 {width}"
    ),
    "pp {pp} x {virtual} stages are more than the {layers} layers of {model}": (
        "pp {pp} × {virtual} 个阶段多于 {model} 的 {layers} 层"
    ),
    "pp {pp} is more than the {layers} layers of {model}": "pp {pp} 多于 {model} 的 {layers} 层",
    "{virtual} stages a device need a pipeline (pp 2 or more)": (
        "每卡 {virtual} 个阶段需要流水线并行（pp 至少为 2）"
    ),
    "a global batch of {batch} sequences does not divide into dp {dp} x micro-batch {micro}": (
        "全局批大小 {batch} 不能按 dp {dp} × 微批 {micro} 均分"
    ),
    "cp {cp} needs a sequence that {multiple} divides; {sequence} was given": (
        "cp {cp} 要求序列长度为 {multiple} 的倍数；给出的是 {sequence}"
    ),
    "cp {cp} does not divide the {heads} Mamba heads of {model}": "cp {cp} 不能整除 {model} 的 {heads} 个 Mamba 头",
    "the interleaved schedule needs micro-batches ({count}) that pp {pp} divides": (
        "交错流水线要求微批数（{count}）为 pp {pp} 的倍数"
    ),
    "ep {ep} was given, but {model} has no experts": "给出了 ep {ep}，但 {model} 没有专家",
    "ep {ep} does not divide the {experts} experts of {model}": "ep {ep} 不能整除 {model} 的 {experts} 个专家",
    "ep {ep} is more than the {experts} experts of {model}": "ep {ep} 多于 {model} 的 {experts} 个专家",
    "ep {ep} x pp {pp} does not divide {devices} devices": "ep {ep} × pp {pp} 不能整除 {devices} 张卡",
    "ep {ep} does not divide the {devices} devices of a stage": "ep {ep} 不能整除一个阶段的 {devices} 张卡",
    "training needs {needed}, but {free} are free: {advice}": "训练需要 {needed}，而空闲 {free}：{advice}",
    (
        "{devices} devices in {servers} servers need a network between them; give resources.nic "
        "in the cluster file, or --nic 400Gb/s"
    ): (
        "{servers} 台服务器中的 {devices} 张卡需要互连网络；请给出网卡速率（集群文件的 resources.nic，"
        "或 --nic 400Gb/s）"
    ),
    "{card}: devices of several servers need a network between them; give resources.nic": (
        "{card}：跨服务器的卡需要互连网络；请给出网卡速率（resources.nic）"
    ),
    (
        "{ranks} ranks are in {domains} domains of {size} accelerators, and no network joins them: "
        "give the network ports (nics) of a server"
    ): ("{ranks} 个 rank 分布在 {domains} 个 {size} 卡的互连域中，域间没有网络：请给出每台服务器的网卡"),
    (
        "{model} with sequences of {sequence} tokens fits on {count} x {card} in no layout; the nearest ({layout}) "
        "needs {needed} GiB of {there} GiB a device: more devices or shorter sequences are needed"
    ): (
        "{model} 以 {sequence} token 的序列在 {count} × {card} 上没有放得下的切分；最接近的（{layout}）每卡需要 "
        "{needed} GiB，而只有 {there} GiB：需要更多卡或更短的序列"
    ),
    "{model} has no layout on {count} x {card}: {reason}": "{model} 在 {count} × {card} 上没有可行的切分：{reason}",
    "needs {needed} GiB of {there} GiB even when all is recomputed": (
        "即使全部重计算也需要 {needed} GiB，而只有 {there} GiB"
    ),
    "no layout serves {model} in {format} on {card} within the objective; {layout}: {reason}": (
        "{card} 上没有切分能以 {format} 在目标内服务 {model}；{layout}：{reason}"
    ),
    "not one whole sequence fits into its cache": "其缓存放不下一个完整的序列",
    "{asked} ms are asked for": "目标为 {asked} 毫秒",
    "a token takes {took} ms even alone; {reason}": ("即使单独运行，每个 token 也需 {took} 毫秒；{reason}"),
    "a first token takes {took} ms even alone; {asked} ms are asked for": (
        "即使单独运行，首个 token 也需 {took} 毫秒；目标为 {asked} 毫秒"
    ),
    (
        "{model} in {format} takes {weights} of weights and {work} of work space on each of {devices} devices; "
        "{card} has {memory}: more devices or fewer bits"
    ): (
        "{model} 以 {format} 在 {devices} 张卡上每卡需要 {weights} 权重和 {work} 工作空间；{card} "
        "只有 {memory}：需要更多卡或更低位宽"
    ),
    "no card does all of it: {reason}": "没有卡型能全部满足：{reason}",
    "{servers} servers of {card} are too few for the training asked for": (
        "{servers} 台 {card} 服务器不足以完成所要求的训练"
    ),
    # why others were not taken
    "fits, but is slower (up to {times} times)": "放得下，但更慢（最多 {times} 倍）",
    "{layout}: {share} slower than the best": "{layout}：比最优慢 {share}",
    "{cards} cards against {best}, {took} ms a token": "需 {cards} 张卡（最优 {best} 张），每个 token {took} 毫秒",
    "does not fit, even when all is recomputed": "即使全部重计算也放不下",
    "tp does not divide the attention heads": "tp 不能整除注意力头数",
    "tp does not divide the feed-forward width": "tp 不能整除前馈宽度",
    "the global batch does not divide": "全局批大小不能均分",
    "the interleaved schedule needs micro-batches that pp divides": "交错流水线要求微批数为 pp 的倍数",
    "ep does not divide the experts": "ep 不能整除专家数",
    "does not divide the devices": "不能整除卡数",
    "more stages than layers": "流水线阶段多于层数",
    "{model}: {days} of {most} days ({layout})": "{model}：用时 {days} 天，上限 {most} 天（{layout}）",
    "{served}: {replicas} x ({split})": "{served}：{replicas} 副本 ×（{split}）",
    "{served}: {replicas} + {prefillers} for prompts x ({split})": (
        "{served}：{replicas} 副本 + {prefillers} 个预填充副本 ×（{split}）"
    ),
    # networks
    (
        "{servers} servers with {ports} ports need {leaves} leaves, and a spine {spine} has {radix} ports: use "
        "--topology three-layer or rail, or a larger --spine"
    ): (
        "{servers} 台各 {ports} 口的服务器需要 {leaves} 台 leaf，而 spine {spine} 只有 {radix} 口："
        "改用 three-layer 或 "
        "rail 拓扑，或更大的 spine"
    ),
    (
        "a leaf {leaf} with {radix} ports cannot take the {each} ports of one server and their uplinks: use "
        "--topology rail, or a larger --switch"
    ): "{radix} 口的 leaf {leaf} 接不下一台服务器的 {each} 口及其上行：改用 rail 拓扑或更大的交换机",
    (
        "a pod of {spine} takes {most} leaves, fewer than the {rails} rails of one group: use --topology "
        "three-layer, or a larger --spine"
    ): "{spine} 的一个 pod 最多 {most} 台 leaf，少于一组的 {rails} 条 rail：改用 three-layer 拓扑或更大的 spine",
    (
        "{servers} servers with {nics} ports are {ports} ports, and three layers of {spine} at {speed} Gb/s join "
        "about {most}: use switches with more ports, fewer ports a server, or --oversubscription"
    ): (
        "{servers} 台各 {nics} 口的服务器共 {ports} 口，而 {speed} Gb/s 的三层 {spine} 约能连接 "
        "{most} 口：改用口数更多的"
        "交换机、减少每台口数，或提高收敛比"
    ),
    "{switch} has no ports of {speed} Gb/s; it has {speeds}": "{switch} 没有 {speed} Gb/s 的端口；现有 {speeds}",
    (
        "--addresses {block} has {there} addresses, and {leaves} leaves need {needed}: give a larger "
        "block, such as 10.0.0.0/8"
    ): (
        "地址段 {block} 有 {there} 个地址，而 {leaves} 台 leaf 需要 {needed} 个：请给出更大的地址段，"
        "例如 10.0.0.0/8"
    ),
    '--addresses "{block}" was given; write a block as in 10.0.0.0/8 ({error})': (
        "地址段“{block}”无法识别；例如 10.0.0.0/8（{error}）"
    ),
}
