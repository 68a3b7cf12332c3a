"""What errors of the platform say in Chinese. The English sentence is the key; a test holds the two together.

A place in braces takes what stands there; see `error_words` for those whose values are said in Chinese as well.
"""

from __future__ import annotations

from collections.abc import Mapping

MESSAGES: Mapping[str, str] = {
    # words within sentences
    "; near names: {names}": "；相近的名称：{names}",
    "; near names: {names}; see: {command}": "；相近的名称：{names}；参见：{command}",
    "; there are: {names}": "；现有：{names}",
    "; there are {names}": "；现有：{names}",
    "job": "作业",
    "node": "节点",
    "engine": "引擎",
    "serving engine": "推理引擎",
    "queue": "队列",
    "key": "密钥",
    "model": "模型",
    "file": "文件",
    "notebook": "笔记本",
    "shipment": "交付",
    "endpoint": "端点",
    "topology": "拓扑",
    "topology of node": "节点拓扑",
    "version of {name}": "{name} 的版本",
    "name": "名称",
    "tenant": "租户",
    "running": "运行中",
    "succeeded": "已成功",
    "failed": "已失败",
    "cancelled": "已取消",
    "pending": "等待中",
    "starting": "启动中",
    "stopping": "停止中",
    "done": "已完成",
    "undone": "已撤销",
    "moving": "移动中",
    "undoing": "撤销中",
    "waiting": "等待中",
    "no reason is told": "未说明原因",
    "import": "导入",
    "curate": "清洗",
    "train": "训练",
    "evaluate": "评测",
    "export": "导出",
    "register": "注册",
    "deploy": "部署",
    "verify": "校验",
    "promote": "晋级",
    # nothing of that name
    'no {kind} "{given}"{near}': "没有{kind}“{given}”{near}",
    'no {kind} "{given}"': "没有{kind}“{given}”",
    'no asset "{name}" in the console': "控制台没有资源“{name}”",
    'no endpoint "{name}"; see: stoker endpoints list': "没有端点“{name}”；参见：stoker endpoints list",
    "no move {move}; see: stoker nodes moves --all": "没有节点移动 {move}；参见：stoker nodes moves --all",
    'no shipment "{shipment}"': "没有交付“{shipment}”",
    'model "{model}" has no version {number}; see: stoker models show {model_again}': (
        "模型“{model}”没有版本 {number}；参见：stoker models show {model_again}"
    ),
    "there is nothing at {path}": "{path} 处没有内容",
    # words that a command does not understand
    "; see: stoker --help": "；参见：stoker --help",
    'no command "{name}"{near}': "没有命令“{name}”{near}",
    "no such option: {option}; see: {command}": "没有选项 {option}；参见：{command}",
    "missing argument '{argument}'; see: {command}": "缺少参数 {argument}；参见：{command}",
    "missing option '{option}'; see: {command}": "缺少选项 {option}；参见：{command}",
    "invalid value for {option}: {error}; see: {command}": "{option} 的值无效：{error}；参见：{command}",
    "no answer from {url}: {cause}; start it with stoker up, or set STOKER_URL": (
        "{url} 没有应答：{cause}；请用 stoker up 启动，或设置 STOKER_URL"
    ),
    "no key is known for {url}; run stoker login or set STOKER_API_KEY": (
        "没有 {url} 的密钥；请运行 stoker login，或设置 STOKER_API_KEY"
    ),
    # keys and rights
    "sign in first": "请先登录",
    "no API key was given; send Authorization: Bearer sk-stk-...": (
        "未提供 API 密钥；请发送 Authorization: Bearer sk-stk-..."
    ),
    "this API key is unknown or revoked; ask an admin for a new one": (
        "该 API 密钥不存在或已吊销；请向管理员申请新的密钥"
    ),
    "this form was posted from {origin}; open the console and try again": (
        "该表单来自 {origin}；请打开控制台后重试"
    ),
    '"{role}" is no role; there are: {roles}': "没有角色“{role}”；现有：{roles}",
    'your role is "{role}"; keys are managed by admins': "你的角色是“{role}”；密钥由管理员管理",
    'key "{name}" has the role {role}; {needed} is needed to {to}': (
        "密钥“{name}”的角色是 {role}；{to}需要 {needed} 角色"
    ),
    "{given} is no {what} of a key; allowed is {allowed}": "{given} 不能用作密钥的{what}；允许 {allowed}",
    "{key} is the last admin key; create another one first": "{key} 是最后一个管理员密钥；请先创建另一个",
    "manage keys": "管理密钥",
    "cancel jobs": "取消作业",
    "cancel a shipment": "取消交付",
    "resume a shipment": "继续交付",
    "ship a model": "运行交付",
    "deploy a model": "部署模型",
    "promote a model": "晋级模型版本",
    "roll back a model": "回退模型版本",
    "scale an endpoint": "调整端点",
    "stop an endpoint": "停止端点",
    "start a notebook": "启动笔记本",
    "stop a notebook": "停止笔记本",
    "submit jobs": "提交作业",
    "change queues": "修改队列",
    "see queues": "查看队列",
    "drain nodes": "排空节点",
    "undrain nodes": "恢复节点",
    "move nodes": "移动节点",
    "undo the moves of nodes": "撤销节点移动",
    "set the scheduling policy": "设置调度策略",
    "see the scheduling policy": "查看调度策略",
    "upload files": "上传文件",
    "do this": "执行此操作",
    "in {span}": "{span}后",
    "past since {span}": "已过 {span}",
    "; the job may take {span}": "；作业可能需要 {span}",
    "; give one with --queue: {usable}": "；请用 --queue 指定：{usable}",
    # fields
    "{what}: {error}": "{what}：{error}",
    "is missing": "未填写",
    "must be a list": "应为列表",
    "must be an object": "应为对象",
    "must be a valid number": "应为数字",
    "must be a valid integer": "应为整数",
    "must be a valid string": "应为文本",
    "must be a valid boolean": "应为 true 或 false",
    "there is no such field": "没有这个字段",
    "there is no such field{near}": "没有这个字段{near}",
    "must be greater than {least}": "应大于 {least}",
    "must be greater than or equal to {least}": "应不小于 {least}",
    "must be less than {most}": "应小于 {most}",
    "must be less than or equal to {most}": "应不大于 {most}",
    "must have at most {most} characters": "最多 {most} 个字符",
    "must have at most {most} character": "最多 {most} 个字符",
    "must have at least {least} characters": "至少 {least} 个字符",
    "must have at least {least} character": "至少 {least} 个字符",
    "must be {one} or {other}": "应为 {one} 或 {other}",
    "holds what is not allowed there, such as a slash, a quote or a control character": (
        "含有不允许的字符，例如斜杠、引号或控制字符"
    ),
    'unknown {what} "{given}"{near}': "没有{what}“{given}”{near}",
    '"{given}" and "{name}" mean the same; give one of them': "“{given}”和“{name}”含义相同；只给其一",
    "field": "字段",
    "field in endpoint": "endpoint 字段",
    "a mapping": "映射",
    "a list": "列表",
    "nothing": "空值",
    "{name}: {kind} was given; a plain value is allowed": "{name}：给出的是{kind}；只允许单个值",
    '{name}: "{value}" has no unit; write for example {seconds}s, {minutes}m or 02:00:00': (
        "{name}：“{value}”缺少单位；例如 {seconds}s、{minutes}m 或 02:00:00"
    ),
    '{name}: "{value}" was given; allowed are true and false': "{name}：给出了“{value}”；只允许 true 或 false",
    '{name}: "{value}" was given; a number is allowed': "{name}：给出了“{value}”；应为数字",
    '{name}: "{value}" was given; allowed is a whole number from {least} up': (
        "{name}：给出了“{value}”；应为不小于 {least} 的整数"
    ),
    '"{text}" is no size; write for example 16Gi, 16G or 500MB': "“{text}”不是容量；例如 16Gi、16G 或 500MB",
    '"{text}" is no duration; write for example 90s, 1h30m, 02:00:00 or 1-12': (
        "“{text}”不是时长；例如 90s、1h30m、02:00:00 或 1-12"
    ),
    '"{text}" is no latency; write for example 50ms or 1.5s': "“{text}”不是延迟；例如 50ms 或 1.5s",
    "{what} is a mapping of fields; write for example: {example}": "{what}应为字段的映射；例如：{example}",
    # endpoints
    "there is no endpoint section; write for example endpoint: {min: 1, max: 4}": (
        "没有 endpoint 部分；例如 endpoint: {min: 1, max: 4}"
    ),
    "endpoint is a mapping; write for example endpoint: {min: 1, max: 4}": (
        "endpoint 应为映射；例如 endpoint: {min: 1, max: 4}"
    ),
    "replicas and min or max were given; give replicas for a fixed number, else min and max": (
        "同时给出了 replicas 与 min 或 max；固定副本数用 replicas，否则用 min 和 max"
    ),
    (
        "{least} to {most} replicas were asked for; allowed is 0 to {ceiling}, the least first, "
        "and the most at least 1"
    ): ("要求的副本数为 {least} 到 {most}；允许 0 到 {ceiling}，先写最少，最多不小于 1"),
    "{name} of {value} was given; it must be above zero": "给出的 {name} 为 {value}；应大于 0",
    "a reserve cannot be negative, and a window is 0 s to one day": "预留不能为负，观察窗口为 0 秒到一天",
    "{count} may sleep; allowed is 0 to {ceiling}": "允许休眠的副本为 {count}；应为 0 到 {ceiling}",
    "idle is 0 s to one day, and hold 0 s to one hour": "空闲时间为 0 秒到一天，保持请求为 0 秒到一小时",
    "{replicas} replicas were asked for; allowed is 1 to {ceiling}": "要求 {replicas} 个副本；允许 1 到 {ceiling}",
    '"{name}" serves no version yet': "“{name}”尚未部署任何版本",
    'the endpoint name "{name}" is taken by another tenant; choose another name': (
        "端点名“{name}”已被其他租户占用；请换一个名称"
    ),
    # jobs
    'stream "{stream}" was given; allowed are {streams}': "给出的日志流为“{stream}”；允许 {streams}",
    "offset and limit of a log cannot be negative": "日志的 offset 和 limit 不能为负",
    "depends on job {jobs}, which does not exist": "所依赖的作业 {jobs} 不存在",
    "attached is for the platform's own jobs; send files as a package": (
        "attached 仅供平台自身的作业使用；请以 package 提交文件"
    ),
    'job "{name}" cannot keep its deadline, which is {when}{tail}': "作业“{name}”赶不上截止时间（{when}{tail}）",
    'job "{name}" {reason}': "作业“{name}”{reason}",
    # what can never run
    'asks for engine "{engine}"{near}': "要求引擎“{engine}”{near}",
    "asks for the site {site}{tail}": "要求站点 {site}{tail}",
    "; no engine has a site": "；没有引擎注明站点",
    "asks for {what}; this machine has none: add an engine that has, see stoker engine add": (
        "要求{what}，本机没有：请接入具备的引擎，见 stoker engine add"
    ),
    "a container image": "容器镜像",
    "a reservation of Slurm's": "Slurm 预留",
    "tolerates none of: {taints}": "不容忍任何一个污点：{taints}",
    "asks for a node; there is none": "需要节点，目前一个也没有",
    "asks for {count} nodes; {most} could hold it": "需要 {count} 个节点，能容纳它的只有 {most} 个",
    "asks for {count} nodes; they cannot be had together": "需要 {count} 个节点，无法同时满足",
    "requires one {level}; no node tells which it is in: see stoker nodes topology": (
        "要求在同一 {level} 内，没有节点注明所在：见 stoker nodes topology"
    ),
    "asks for {count} nodes of one {level}; the largest has {most} that could hold it": (
        "需要同一 {level} 内的 {count} 个节点，最大的也只有 {most} 个能容纳它"
    ),
    "requires devices of one {level} group; no node tells of any: see stoker nodes topology": (
        "要求同一 {level} 组的卡，没有节点注明分组：见 stoker nodes topology"
    ),
    "asks for {count} devices of one {level} group on a node; no node has so large a one": (
        "需要一个节点上同一 {level} 组的 {count} 张卡，没有节点有这么大的组"
    ),
    "asks for {count} × {models}; {tail}": "需要 {count} × {models}；{tail}",
    "there are: {names}": "现有：{names}",
    "there is none": "目前没有",
    "asks for {count} {kind}; the largest node has {most}": "需要 {count} {kind}，最大的节点有 {most}",
    "asks for {count} CPUs; the largest node has {most}": "需要 {count} 个 CPU，最大的节点有 {most} 个",
    "asks for {size} of memory; the largest node has {most}": "需要 {size} 内存，最大的节点有 {most}",
    "asks for {cpus} CPUs, {size} and {count} devices; no single node has all of them": (
        "需要 {cpus} 个 CPU、{size} 内存和 {count} 张卡，没有一个节点同时具备"
    ),
    'asks for {count} devices; queue "{queue}" may hold {most} at most': (
        "需要 {count} 张卡，队列“{queue}”最多可占用 {most} 张"
    ),
    'asks for {count} devices; one user may hold {most} in queue "{queue}"': (
        "需要 {count} 张卡，每个用户在队列“{queue}”中最多可占用 {most} 张"
    ),
    "devices": "张卡",
    "a {old} job cannot become {new}": "{old} 状态的作业不能变为 {new}",
    "resources cannot be negative": "资源不能为负",
    "a share of {share}/1000 of a device was asked; allowed is 1 to 1000": (
        "申请了加速卡的 {share}/1000；允许 1 到 1000"
    ),
    'mount "{source}:{target}" was given; both paths must be absolute': (
        "挂载“{source}:{target}”的两个路径都应为绝对路径"
    ),
    "{name} is no job name: 1 to 128 characters, no slashes, quotes, $ or control characters": (
        "{name} 不能用作作业名：1 到 128 个字符，不含斜杠、引号、$ 或控制字符"
    ),
    "a job needs a command or a script, and not both": "作业需要命令或脚本，二者只能给其一",
    "priority {priority} was given; allowed is 0 to 100": "给出的优先级为 {priority}；允许 0 到 100",
    "a job needs at least one node and one task on it": "作业至少需要一个节点，且每节点至少一个任务",
    "the time limit must be above zero": "时间上限应大于 0",
    "arguments and environment values cannot hold NUL characters": "参数和环境变量的值不能含 NUL 字符",
    "an environment name cannot be empty or hold = or NUL": "环境变量名不能为空，也不能含 = 或 NUL",
    'checkpoint_signal "{signal}" was given; allowed are {signals}': (
        "给出的 checkpoint_signal 为“{signal}”；允许 {signals}"
    ),
    "min_runtime, checkpoint_lead and checkpoint_every are seconds, not below zero": (
        "min_runtime、checkpoint_lead 和 checkpoint_every 以秒为单位，不能为负"
    ),
    "min_nodes {least} was given; allowed is 1 to {nodes}, the nodes it asks for": (
        "给出的 min_nodes 为 {least}；允许 1 到 {nodes}（所申请的节点数）"
    ),
    "no job was given; a submission holds at least one": "没有给出作业；每次提交至少一个",
    "{count} jobs were given; at most {most} go into one submission": (
        "给出了 {count} 个作业；每次提交最多 {most} 个"
    ),
    'the script of "{name}" does not start with #!; begin it with #!/bin/bash': (
        "“{name}”的脚本没有以 #! 开头；请以 #!/bin/bash 开头"
    ),
    'the script of "{name}" has Windows line ends (CRLF); convert it with dos2unix': (
        "“{name}”的脚本使用 Windows 换行（CRLF）；请用 dos2unix 转换"
    ),
    'working folder "{folder}" was given; .. leads out of the package': "工作目录“{folder}”中的 .. 超出了代码包",
    'working folder "{folder}" was given; give an absolute path': "工作目录为“{folder}”；请给出绝对路径",
    'the array of "{name}" names an index twice or below zero': "“{name}”的数组含重复或负的下标",
    "the jobs wait for each other: {circle}; remove one dependency": "作业相互等待：{circle}；请去掉一个依赖",
    "depends on job {sibling}, but only {count} were given": "依赖第 {sibling} 个作业，但只给出了 {count} 个",
    'the idempotency key "{key}" was used for another submission; give a fresh one': (
        "幂等键“{key}”已用于另一次提交；请换一个新的"
    ),
    "job {job} is {state}, it does not wait; see: stoker why {again}": (
        "作业 {job} {state}，并未等待；参见：stoker why {again}"
    ),
    "a file that goes along is gone: {files}; submit the job again": (
        "随作业提交的文件已不在：{files}；请重新提交作业"
    ),
    "nothing to run; write for example: run: python train.py": "没有要运行的内容；例如：run: python train.py",
    "run has its own interpreter line; then the commands of setup belong into it": (
        "run 自带解释器行；请把 setup 的命令并入其中"
    ),
    "envs is a mapping; write for example envs: {LR: 0.001}": "envs 应为映射；例如 envs: {LR: 0.001}",
    "envs: {name} has no value here; give it with --env {again}=...": (
        "envs：{name} 没有值；请用 --env {again}=... 给出"
    ),
    'type "{value}" was given; allowed are {kinds}': "给出的 type 为“{value}”；允许 {kinds}",
    "resources is a mapping; write for example resources: {accelerators: H100:8}": (
        "resources 应为映射；例如 resources: {accelerators: H100:8}"
    ),
    "labels is a mapping; write for example labels: {project: speech}": (
        "labels 应为映射；例如 labels: {project: speech}"
    ),
    (
        "any_of is a list of accelerators alone; write for example any_of: [{accelerators: H20:8}, "
        "{accelerators: H100:8}]"
    ): ("any_of 应为只含 accelerators 的列表；例如 any_of: [{accelerators: H20:8}, {accelerators: H100:8}]"),
    '{what}: "{text}" was given; write /on/node:/in/container, with :ro to only read': (
        "{what}：给出了“{text}”；请写 /节点路径:/容器路径，只读加 :ro"
    ),
    # what became of jobs
    "cancelled by {who}": "由 {who} 取消",
    "cancelled before it was handed over": "交给引擎之前已取消",
    "attempt {attempt} ended: {reason}": "第 {attempt} 次尝试已结束：{reason}",
    "{engine} does not know it any more": "{engine} 已查不到它",
    "preempted for job {job}, {reason}; {tail}": "为作业 {job} 让出（{reason}）；{tail}",
    "starts again elsewhere: {reason}; {tail}": "在别处重新启动：{reason}；{tail}",
    "preempted: its node {node} moves to {engine}": "被抢占：其节点 {node} 移往 {engine}",
    'as queue "{queue}" takes back what it deserves': "队列“{queue}”收回其应得",
    "of priority {priority}": "优先级 {priority}",
    "an equal whose turn it is": "同等优先级，轮到它",
    "lets job {job} in": "让作业 {job} 得以启动",
    "grows from {few} to {more} nodes": "从 {few} 个节点扩到 {more} 个",
    "loses nothing: it is told to save itself": "不损失工作：会收到保存通知",
    "loses {span} of work, since it last saved itself": "损失 {span} 的工作（自上次保存以来）",
    "loses {span} of work, if it saves itself every {every}": "损失 {span} 的工作（按每 {every} 保存一次）",
    "loses {span} of work: nothing tells of a checkpoint": "损失 {span} 的工作：没有任何检查点的记录",
    "its room is being made: waits for {jobs} to end": "正在为它腾出资源：等待 {jobs} 结束",
    "out of memory; give the job more memory or make batch and model smaller": (
        "内存不足；请给作业更多内存，或减小批大小或模型"
    ),
    "the engine stopped; see its log": "推理引擎已停止；请查看其日志",
    "waits for {shipment}, which deploys {name}": "等待正在部署 {name} 的 {shipment}",
    "the platform failed on it, its log says why; it is tried again": "平台处理它时出错，原因见平台日志；会重试",
    # queues and policy
    "{name} is no name of a queue: 1 to 63 letters, digits, dots, dashes and underscores": (
        "{name} 不能用作队列名：1 到 63 个字母、数字、点、连字符或下划线"
    ),
    'queue "{name}" cannot be its own parent': "队列“{name}”不能是自己的上级",
    'timezone "{zone}" is unknown; write for example Asia/Shanghai': "时区“{zone}”不存在；例如 Asia/Shanghai",
    "{name} of {value} was given; allowed is 0 and more": "给出的 {name} 为 {value}；不能小于 0",
    "deserved_of adds up to {sum}, more than deserved ({deserved}); raise deserved": (
        "deserved_of 合计 {sum}，超过 deserved（{deserved}）；请提高 deserved"
    ),
    "a ceiling of {ceiling} is below the {deserved} deserved; raise it or lower those": (
        "上限 {ceiling} 低于应得的 {deserved}；请提高上限或降低应得"
    ),
    "half_life of {value} s was given; allowed is 1 minute to a year": "half_life 为 {value} 秒；允许 1 分钟到一年",
    "patience of {value} s was given; allowed is up to a year": "patience 为 {value} 秒；允许不超过一年",
    'queue "{name}" has the parent "{parent}", which does not exist{near}': (
        "队列“{name}”的上级“{parent}”不存在{near}"
    ),
    "the queues {names} are each other's parents": "队列 {names} 互为上级",
    "queues stand {depth} deep; allowed are {most}": "队列层级为 {depth}；最多 {most} 层",
    (
        'the queues in "{name}" deserve {total} devices together, "{parent}" has {deserved}; raise '
        "its deserved to {again}"
    ): ("“{name}”下的队列应得合计 {total} 张加速卡，而“{parent}”为 {deserved}；请将其应得提高到 {again}"),
    'queue "{name}" only holds other queues; give one of them: {below}': (
        "队列“{name}”只包含其他队列；请改用其中之一：{below}"
    ),
    "the default queue is not for tenant {tenant}{tail}": "默认队列不供租户 {tenant} 使用{tail}",
    'queue "{name}" is given twice': "队列“{name}”给出了两次",
    'there is a queue "{name}" already; change it with: stoker queue set': (
        "已有队列“{name}”；修改请用：stoker queue set"
    ),
    'queue "{name}" has queues below it: {below}; remove those first': (
        "队列“{name}”下还有队列：{below}；请先删除它们"
    ),
    'window "{text}" was given; write for example Mon-Fri 20:00-08:00': (
        "时段“{text}”无法识别；例如 Mon-Fri 20:00-08:00"
    ),
    'policy setting "{name}" was given{near}': "没有策略项“{name}”{near}",
    'policy setting "{name}" has no value; write {again}=VALUE': "策略项“{name}”没有值；请写 {again}=VALUE",
    "{name} of {value} was given; allowed is {least} to {most}": "给出的 {name} 为 {value}；允许 {least} 到 {most}",
    # models and shipments
    'model "{name}" has no earlier champion to go back to; see: stoker models journal {again}': (
        "模型“{name}”没有可回退的上一个线上版本；参见：stoker models journal {again}"
    ),
    "comparing needs at least two versions": "对比至少需要两个版本",
    "shipment {shipment} is {state}; there is nothing to resume": "交付 {shipment} {state}，无需继续",
    "{name} is no model name: 1 to 100 letters, digits, dots, dashes and underscores, not dots alone": (
        "{name} 不能用作模型名：1 到 100 个字母、数字、点、连字符或下划线，且不能只有点"
    ),
    'the model name "{name}" is taken by another tenant; choose another name': (
        "模型名“{name}”已被其他租户占用；请换一个名称"
    ),
    'method "{method}" was given; allowed: {methods}': "给出的方法为“{method}”；允许 {methods}",
    "{setting} is {value}; {kind} is needed": "{setting} 为 {value}；应为{kind}",
    "data {given} must be an absolute path on the server or a file id": (
        "数据 {given} 应为服务器上的绝对路径或文件编号"
    ),
    "{path} is an empty folder; put .jsonl, .csv, .parquet, .txt, .md or .html in it": (
        "{path} 是空目录；请放入 .jsonl、.csv、.parquet、.txt、.md 或 .html"
    ),
    "{path} is neither a file nor a folder": "{path} 既不是文件也不是目录",
    'no stage "{stage}" has settings{near}': "没有可设置的阶段“{stage}”{near}",
    "cannot read {path}: {cause}": "无法读取 {path}：{cause}",
    'stage {stage} has no setting "{name}"{near}': "阶段 {stage} 没有设置项“{name}”{near}",
    "no engine has told of any node yet; see: stoker nodes": "尚无引擎报告节点；参见：stoker nodes",
    "{nodes} nodes were asked for; a training needs at least one": "要求 {nodes} 个节点；训练至少需要一个",
    "min_nodes {least} was given; allowed is 1 to {nodes}, the nodes of the training": (
        "给出的 min_nodes 为 {least}；允许 1 到 {nodes}（训练的节点数）"
    ),
    "{name} is no usable file name: 1 to {most} printable characters": (
        "{name} 不能用作文件名：1 到 {most} 个可打印字符"
    ),
    "the content of {file} is gone from {path}; upload it again": "{file} 的内容已不在 {path}；请重新上传",
    "no space left in {path} for the upload; free some and try again": "{path} 空间不足，无法上传；请清理后重试",
    '"{name}" is larger than the limit of {limit}; split it': "“{name}”超过 {limit} 的上限；请拆分",
    # notebooks
    "notebook {job} has ended: {reason}": "笔记本 {job} 已结束：{reason}",
    "notebook {job} belongs to {owner}; only who started it may open it": (
        "笔记本 {job} 属于 {owner}；只有启动者可以打开"
    ),
    (
        "notebook {job} belongs to {owner}; admins may open it where each notebook has a name of its own: "
        "stoker up --notebooks-url 'https://*.notebooks.example.com'"
    ): (
        "笔记本 {job} 属于 {owner}；只有在每个笔记本有独立域名时管理员才能打开："
        "stoker up --notebooks-url 'https://*.notebooks.example.com'"
    ),
    'no notebook "{job}"; that is a {kind}': "没有笔记本“{job}”；那是{kind}",
    "a name in secret_envs is empty or holds =": "secret_envs 中有名称为空或含 =",
    # nodes and their moves
    "a move may be given 1 s to 30 days": "节点移动的期限为 1 秒到 30 天",
    "no node was named": "没有指定节点",
    "move {move} is {state} and cannot become {new}": "节点移动 {move} {state}，不能变为 {new}",
    "{machine} is being moved already; see: stoker nodes moves": "{machine} 已在移动中；参见：stoker nodes moves",
    "{engine} is away: {why}": "{engine} 失联：{why}",
    "{name} takes no work on {engine}: {reason}; let it do so first": (
        "{name} 在 {engine} 上不接受作业：{reason}；请先恢复"
    ),
    "{name} was drained on {target} by somebody else: {reason}; a move does not undo that": (
        "{name} 在 {target} 上已被他人排空：{reason}；节点移动不会撤销它"
    ),
    "{name} does not belong to {target}, only to {known}; add it there first": (
        "{name} 不属于 {target}，只属于 {known}；请先加入"
    ),
    "{name} belongs to no {what}": "{name} 不属于{what}",
    "other engine": "其他引擎",
    "engine {name}": "引擎 {name}",
    "{name} is several nodes of one engine; a move needs one on each side": (
        "{name} 对应同一引擎的多个节点；移动要求两侧各一个"
    ),
    "{name} belongs to several engines; say which it leaves: --from {names}": (
        "{name} 属于多个引擎；请用 --from {names} 指明离开哪个"
    ),
    "say why in 1 to {most} printable characters": "请用 1 到 {most} 个可打印字符说明原因",
    "{name} is being moved; wait for it or undo it first: stoker nodes moves": (
        "{name} 正在移动；请等待或先撤销：stoker nodes moves"
    ),
    "{name} takes no work on {engine} already: {reason}": "{name} 在 {engine} 上已不接受作业：{reason}",
    "{name} was not drained by this platform but is so on {engine}: {why}": (
        "{name} 并非由本平台排空，但在 {engine} 上已排空：{why}"
    ),
    "{name} is open on {on} since move {move}; to have it back: stoker nodes move {again} --to {engine}": (
        "{name} 自节点移动 {move} 起在 {on} 上可用；要移回：stoker nodes move {again} --to {engine}"
    ),
    "{name} is closed on several engines; say on which to open it: --engine {engines}": (
        "{name} 在多个引擎上已关闭；请用 --engine {engines} 指明在哪个上打开"
    ),
    "{name} is not drained": "{name} 并未排空",
    "none of them is drained": "它们都没有排空",
    '"{engine}" cannot drain nodes, and others use it too; drain them there by its own means': (
        "“{engine}”不能排空节点，且有他人使用；请用该引擎自己的方式排空"
    ),
    '"{engine}" has no node "{name}"': "“{engine}”没有节点“{name}”",
    "a node expression of {length} characters was given; allowed are {most}": (
        "节点表达式有 {length} 个字符；最多 {most} 个"
    ),
    '"{text}" names more than {most} nodes; give them in several calls': "“{text}”超过 {most} 个节点；请分几次给出",
    '"{whole}" holds the range {first}-{last}, which goes backwards': "“{whole}”中的范围 {first}-{last} 首尾颠倒",
    '"{text}" is no node expression; write for example gpu3, gpu[12-19] or gpu[1,4-6],cpu2': (
        "“{text}”不是节点表达式；例如 gpu3、gpu[12-19] 或 gpu[1,4-6],cpu2"
    ),
    '"{name}" is the name of several machines; say which: {names}': "“{name}”对应多台机器；请指明：{names}",
    "no automatic moves between {first} and {second}; see: stoker nodes balance": (
        "{first} 与 {second} 之间没有自动移动；参见：stoker nodes balance"
    ),
    "{count} nodes were given; allowed are {most}": "给出了 {count} 个节点；最多 {most} 个",
    # engines and the place of it all
    'there is an engine "{name}" already; choose another name or remove it first': (
        "已有引擎“{name}”；请换一个名称或先移除"
    ),
    '"{name}" is the engine of this machine and stays': "“{name}”是本机的引擎，不能移除",
    '{held} jobs are on "{name}"; wait for them or cancel them first: stoker jobs': (
        "“{name}”上还有 {held} 个作业；请等待或先取消：stoker jobs"
    ),
    "cannot be opened: {error}": "无法打开：{error}",
    "the first admin's key must be {prefix} and 32 to 200 letters, digits, - or _": (
        "首个管理员密钥应为 {prefix} 加 32 到 200 个字母、数字、- 或 _"
    ),
    '--advertise "{url}" was given; write for example http://gpu-login01:8700': (
        "给出的 --advertise 为“{url}”；例如 http://gpu-login01:8700"
    ),
    "the database {where} does not answer: {cause}": "数据库 {where} 没有应答：{cause}",
    "no space left for {where}; free some and try again": "{where} 空间已满；请清理后重试",
    "no space left for the model registry; free some and try again": "模型库空间已满；请清理后重试",
    "shipping a model": "运行交付",
    "a notebook on this machine": "在本机启动笔记本",
    "{what} needs the [{extra}] extra: pip install 'stoker[{again}]'": (
        "{what} 需要可选组件 [{extra}]：pip install 'stoker[{again}]'"
    ),
}
