"""The sentences of explanations, English and Chinese side by side."""

from __future__ import annotations

from collections.abc import Mapping

Both = Mapping[str, tuple[str, str]]  # key -> English, Chinese

ASKED: Both = {
    "devices": ("{count} × {models}", "{count} × {models}"),
    "any": ("{count} devices", "{count} 张加速卡"),
    "one": ("1 device", "1 张加速卡"),
    "share": ("{share} of a device", "{share} 张加速卡"),
    "share_of": ("{share} × {models}", "{share} × {models}"),
    "cpus": ("{cpus} CPUs", "{cpus} 个 CPU"),
    "memory": ("{cpus} CPUs and {memory}", "{cpus} 个 CPU 和 {memory} 内存"),
    "nodes": ("{asked} on each of {nodes} nodes", "{nodes} 个节点各 {asked}"),
}

WHOSE: Both = {
    "seen": ("job {job}", "作业 {job}"),
    "hidden": ("a job of another tenant", "其他租户的作业"),
}

CAUSES: Both = {
    "starting": ("nothing keeps it: it starts with the next pass", "没有障碍：下一轮调度即启动"),
    "undecided": (
        "no scheduling pass of this process has looked at it yet",
        "本进程尚未对它做过调度决策",
    ),
    "dependency": ("it waits for other jobs ({jobs})", "等待其他作业（{jobs}）"),
    "dependency.never": (
        "what it depends on can no longer come true ({jobs})",
        "所依赖的条件已不可能满足（{jobs}）",
    ),
    "begin_time": ("it is tried again in {in}, after attempt {attempt}", "第 {attempt} 次尝试之后，{in}后重试"),
    "array_limit": (
        "{limit} of its array run already, as many as the array's limit allows",
        "所属数组已有 {limit} 个在运行，达到数组并发上限",
    ),
    "quota": ("a limit keeps it: {message}", "受限额约束：{message}"),
    "quota.ceiling": (
        'queue "{queue}" may hold {most} devices and holds {held}; this job wants {wanted}',
        "队列“{queue}”最多占用 {most} 张加速卡，已占用 {held} 张；本作业需要 {wanted} 张",
    ),
    "quota.closed": (
        'queue "{queue}" is closed: it may hold no device now',
        "队列“{queue}”已关闭：目前不得占用加速卡",
    ),
    "quota.deserved": (
        'queue "{queue}" borrows nothing and holds {held} of the {most} devices it deserves; wanted are {wanted}',
        "队列“{queue}”不可借用，应得 {most} 张加速卡，已占用 {held} 张；本作业需要 {wanted} 张",
    ),
    "quota.models": (
        'queue "{queue}" holds as many {models} as it may',
        "队列“{queue}”占用的 {models} 已达上限",
    ),
    "quota.user_devices": (
        'its owner holds {held} of the {most} devices that one user may in queue "{queue}"; wanted are {wanted}',
        "队列“{queue}”中单个用户最多占用 {most} 张加速卡，提交者已占用 {held} 张；本作业需要 {wanted} 张",
    ),
    "quota.user_jobs": (
        'its owner has {held} jobs running, as many as one user may in queue "{queue}"',
        "提交者已有 {held} 个作业在运行，达到队列“{queue}”的单用户上限",
    ),
    "preempting": ("others are being ended for it: {giving_way}", "正在为它结束其他作业：{giving_way}"),
    "engine_away": (
        'engine "{engine}", which could hold it, does not answer: {why}',
        "能容纳它的引擎“{engine}”没有应答：{why}",
    ),
    "never": (
        "it needs {asked}; of {nodes_there} nodes {could} could ever hold their part",
        "需要 {asked}；{nodes_there} 个节点中只有 {could} 个放得下",
    ),
    "drained": (
        "it needs {asked}; {count} nodes that could hold it take no new work ({node}: {why})",
        "需要 {asked}；能容纳它的 {count} 个节点不接受新作业（{node}：{why}）",
    ),
    "taints": (
        "it needs {asked}; {count} nodes that could hold it are kept for jobs that tolerate {why}",
        "需要 {asked}；能容纳它的 {count} 个节点只留给容忍污点 {why} 的作业",
    ),
    "failed_devices": (
        "it needs {asked}; {count} nodes that could hold it have devices that failed ({node})",
        "需要 {asked}；能容纳它的 {count} 个节点上有故障加速卡（{node}）",
    ),
    "reservation": (
        "there is room, kept for {whose} ({asked}), which begins in {in} at the latest",
        "有空位，但为{whose}（{asked}）预留，它最迟{in}后开始",
    ),
    "reservation.endless": (
        "there is room, kept for {whose}, which waits for a job without a time limit",
        "有空位，但为{whose}预留，而它在等一个没有时间上限的作业",
    ),
    "reservation.overdue": (
        'there is room, which queue "{queue}" keeps for {whose}, that has waited longer than its patience',
        "有空位，但队列“{queue}”将其留给{whose}，后者的等待已超过队列的耐心时限",
    ),
    "priority": ("there is room, and those ahead of it take it", "有空位，但排在前面的作业先用"),
    "topology": (
        "it needs {asked} in one {level}; {roomy} nodes have room for their part, at most {largest} in one {level}",
        "需要 {asked}，且在同一 {level} 内；{roomy} 个节点放得下，但同一 {level} 内最多 {largest} 个",
    ),
    "topology.within": (
        "it needs {asked}, joined by {level}; {roomy} nodes have enough free devices, and not joined so",
        "需要 {asked}，且由 {level} 相连；{roomy} 个节点空闲数量足够，但并不这样相连",
    ),
    "fragmentation": (
        "it needs {asked}; {free} of {total} devices are free, but in slivers: at most {largest} on one node",
        "需要 {asked}；{total} 张加速卡中空闲 {free} 张，但很零散：单个节点最多 {largest} 张",
    ),
    "fragmentation.starved": (
        "it needs {asked}; {free} of {total} devices are free, but {starved} nodes lack CPUs or memory beside them",
        "需要 {asked}；{total} 张加速卡中空闲 {free} 张，但其中 {starved} 个节点缺 CPU 或内存",
    ),
    "fragmentation.nodes": (
        "it needs {asked}; {free} of {total} devices are free, but only {whole} nodes have enough of them",
        "需要 {asked}；{total} 张加速卡中空闲 {free} 张，但只有 {whole} 个节点数量足够",
    ),
    "fragmentation.cpus": (
        "it needs {asked}; {free_cpus} of {total_cpus} CPUs are free, at most {largest_cpus} on one node",
        "需要 {asked}；{total_cpus} 个 CPU 中空闲 {free_cpus} 个，单个节点最多 {largest_cpus} 个",
    ),
    "fragmentation.memory": (
        "it needs {asked}; {free_memory} of memory is free in total, at most {largest_memory} on one node",
        "需要 {asked}；内存共空闲 {free_memory}，单个节点最多 {largest_memory}",
    ),
    "resources": (
        "it needs {asked}; {free} of the {total} devices that it could use are free",
        "需要 {asked}；可用的 {total} 张加速卡中空闲 {free} 张",
    ),
    "resources.cpus": (
        "it needs {asked}; {free_cpus} of {total_cpus} CPUs are free, at most {largest_cpus} on one node",
        "需要 {asked}；{total_cpus} 个 CPU 中空闲 {free_cpus} 个，单个节点最多 {largest_cpus} 个",
    ),
    "resources.memory": (
        "it needs {asked}; {free_memory} of memory is free in total, at most {largest_memory} on one node",
        "需要 {asked}；内存共空闲 {free_memory}，单个节点最多 {largest_memory}",
    ),
    "resources.exclusive": (
        "it needs {asked} and the nodes to itself; on all that could hold it something runs",
        "需要独占 {asked}；能容纳它的节点上都有作业在运行",
    ),
}

# What follows the sentence of a limit that other numbers replace at a known time.
WINDOW: tuple[str, str] = ("; other numbers hold in {changes_in}", "；{changes_in}后改用其他数值")

REMEDIES: Both = {
    "starting": ("nothing to do", "无需处理"),
    "undecided": ("ask again in a moment", "请稍后再查"),
    "dependency": (
        "it starts when they have ended as it asks; submitted again without --after it does not wait for them",
        "它们按要求结束后即启动；不带 --after 重新提交则无需等待",
    ),
    "dependency.never": (
        "correct the job it depends on, then submit both again",
        "修正所依赖的作业，再重新提交两者",
    ),
    "begin_time": (
        "nothing to do; its attempts end early, see what they say: stoker logs",
        "无需处理；此前的尝试过早结束，请查看日志：stoker logs",
    ),
    "array_limit": (
        "it starts when another of its array has ended; or submit the array with a higher limit (--array 0-15%8)",
        "数组中有其他作业结束后即启动；或以更高的并发上限提交数组（--array 0-15%8）",
    ),
    "quota": (
        "it starts when jobs under that limit have ended; or ask an admin to raise it (stoker queue list)",
        "该限额内有作业结束后即启动；或请管理员提高限额（stoker queue list）",
    ),
    "quota.ceiling": (
        "wait for jobs of the queue, or ask for less; an admin raises it: stoker queue set {queue} --ceiling",
        "队列中有作业结束后即启动；或减少加速卡，或由管理员执行：stoker queue set {queue} --ceiling",
    ),
    "quota.closed": (
        "submit it to another queue, or ask an admin to open this one: stoker queue set {queue} --ceiling",
        "提交到其他队列，或请管理员开放本队列：stoker queue set {queue} --ceiling",
    ),
    "quota.deserved": (
        "wait for jobs of the queue, or ask for less; an admin lets it borrow: stoker queue set {queue} --weight 1",
        "队列中有作业结束后即启动；或减少加速卡，或由管理员执行：stoker queue set {queue} --weight 1",
    ),
    "quota.models": (
        "wait for jobs of the queue, or take another model; an admin raises it: stoker queue set {queue} --ceiling",
        "队列中有作业结束后即启动；或改用其他型号，或由管理员执行：stoker queue set {queue} --ceiling",
    ),
    "quota.user_devices": (
        "wait for its owner's jobs, or ask for less; an admin raises it: stoker queue set {queue} --user-devices",
        "提交者的作业结束后即启动；或减少加速卡，或由管理员执行：stoker queue set {queue} --user-devices",
    ),
    "quota.user_jobs": (
        "wait for one of its owner's jobs; an admin raises it: stoker queue set {queue} --user-jobs",
        "提交者的作业结束后即启动；或由管理员执行：stoker queue set {queue} --user-jobs",
    ),
    "preempting": ("nothing to do: it starts when they are gone", "无需处理：它们结束后即启动"),
    "engine_away": ("bring the engine back; nothing is lost meanwhile", "恢复该引擎；期间不会丢失任何内容"),
    "never": (
        "ask for less on each node, or for what there is (stoker nodes)",
        "减少每节点的需求，或改用现有的型号（stoker nodes）",
    ),
    "drained": (
        "let them take work again: stoker nodes undrain {node}",
        "让这些节点重新接受作业：stoker nodes undrain {node}",
    ),
    "taints": (
        "if it may run there, submit it with --tolerate; else wait for other nodes",
        "若允许在其上运行，请加 --tolerate 提交；否则等待其他节点",
    ),
    "failed_devices": ("have the devices repaired (stoker nodes)", "请维修故障加速卡（stoker nodes）"),
    "reservation": (
        "it starts when that job has begun and leaves room; a time limit that ends before starts it at once",
        "该作业启动后仍有空位即启动；若时间上限在预留开始之前，则可立即启动",
    ),
    "reservation.endless": (
        "it starts after that job; give jobs time limits, so that others can pass",
        "排在该作业之后；请为作业设置时间上限，以便其他作业先行",
    ),
    "reservation.overdue": (
        "it starts after that job, or at once with a time limit that ends before it begins",
        "排在该作业之后；若时间上限在其启动之前，则可立即启动",
    ),
    "priority": (
        "it starts when those ahead have started; a higher priority moves it forward",
        "排在前面的作业启动后即启动；提高优先级可提前",
    ),
    "topology": (
        "it starts when room in one {level} is free; --topology preferred={level} takes what there is",
        "同一 {level} 内有足够空位时启动；--topology preferred={level} 则有位即用",
    ),
    "fragmentation": (
        "it starts when enough is free together; fewer devices on more nodes may start at once",
        "有足够的集中空位时启动；减少每节点数量、增加节点数可能立即启动",
    ),
    "resources": (
        "it starts when enough of what runs has ended; asking for less may start it at once",
        "在运行的作业释放足够资源后即启动；减少需求可能立即启动",
    ),
}

CHANGES: Both = {
    "shorter": (
        "a time limit of {limit}: it is done before what is kept for another begins",
        "时间上限改为 {limit}：在预留开始之前结束",
    ),
    "tolerate": ("tolerate the taint {taint}", "容忍污点 {taint}"),
    "model": ("take {model} as well as {models}", "除 {models} 外也接受 {model}"),
    "queue": ("queue {queue} instead of {was}", "改用队列 {queue}（原 {was}）"),
    "engine": ("any engine and site", "不限引擎与站点"),
    "cpus": ("{cpus} CPUs on each node instead of {was}", "每节点 {cpus} 个 CPU（原 {was}）"),
    "memory": ("{memory} of memory on each node instead of {was_bytes}", "每节点内存 {memory}（原 {was_bytes}）"),
    "shared": ("not whole nodes for itself", "不独占节点"),
    "devices": ("{devices} devices on each node instead of {was}", "每节点 {devices} 张加速卡（原 {was}）"),
    "nodes": ("{nodes} nodes instead of {was}", "{nodes} 个节点（原 {was}）"),
    "priority": ("priority {priority} instead of {was}", "优先级 {priority}（原 {was}）"),
    "array": ("an array limit of {limit} instead of {was}", "数组并发上限 {limit}（原 {was}）"),
    "wait": (
        "nothing but time: in {in} what runs has reached its limits",
        "只需等待：{in}后在运行的作业都已到时限",
    ),
    "queue_later": (
        "queue {queue} instead of {was}: it would start in about {in}",
        "改用队列 {queue}（原 {was}）：预计{in}后启动",
    ),
    "topology": ("not necessarily in one {level}", "不强求在同一 {level} 内"),
}

REFUSALS: Both = {
    "away": ("engine away", "引擎失联"),
    "elsewhere": ("not its engine or site", "引擎或站点不符"),
    "model": ("wrong model", "型号不符"),
    "failed": ("failed devices", "加速卡故障"),
    "small": ("too small", "规格过小"),
    "taint": ("taint", "污点"),
    "drained": ("drained", "已排空"),
    "occupied": ("not empty", "非空闲"),
    "devices": ("too few free devices", "空闲加速卡不足"),
    "cpus": ("too few free CPUs", "空闲 CPU 不足"),
    "memory": ("too little free memory", "空闲内存不足"),
    "slots": ("too many jobs there", "作业数已满"),
    "topology": ("not joined as asked", "拓扑不符"),
    "reserved": ("reserved", "已预留"),
    "free": ("free for it", "可用"),
}

# How it starts by ending others: the head of the list of victims, or why there is none.
ENDING: Both = {
    "begun": ("these give way to it now:", "正在为它让出："),
    "now": ("when it is its turn, it can start by ending:", "轮到它时，可通过抢占下列作业启动："),
    "later": (
        "when these have run for their minimal time, in {left}, it can start by ending:",
        "{left}后下列作业满足最短运行时间，届时可抢占它们启动：",
    ),
    "none": ("nobody in its way may be ended for it", "占用者均不可为它抢占"),
    "too_few": (
        "ending those that may be ended for it ({endable}) does not make room enough",
        "可为它抢占的作业（{endable} 个）全部让出仍不够",
    ),
}

LOSSES: Both = {
    "nothing": ("loses no work: it is told to save itself", "不损失工作：会收到保存通知"),
    "saved": ("loses {lost} of work, since it last saved itself", "损失 {lost} 的工作（自上次保存以来）"),
    "regular": (
        "loses {lost} of work, if it saves itself as often as it says",
        "损失 {lost} 的工作（按其声明的保存间隔）",
    ),
    "untold": (
        "loses {lost} of work: nothing tells of a checkpoint",
        "损失 {lost} 的工作：没有任何检查点的记录",
    ),
}

SHIELDS: Both = {
    "policy": ("the policy ends no job for another", "调度策略不允许抢占"),
    "job": ("not preemptible", "不可抢占"),
    "queue": ("protected by their queue", "受所在队列保护"),
    "priority": ("of its queue, with a priority that is not lower", "同一队列，优先级不低于它"),
    "turn": ("of its queue and priority, and their turn is not over", "同一队列、同等优先级，且本轮尚未结束"),
    "right": (
        "of other queues, and with it its own queue would hold more than it deserves",
        "属其他队列，而本队列加上它会超出应得",
    ),
    "borrowed": (
        "of other queues, which hold no more than they deserve",
        "属其他队列，且这些队列未超出应得",
    ),
    "time": (
        "not yet run for their minimal time; the first has in {left}",
        "未满最短运行时间；最早的还差 {left}",
    ),
}
SHIELDED: tuple[str, str] = ("{count}: {why}", "{count} 个：{why}")
